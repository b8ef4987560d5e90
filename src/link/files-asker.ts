import type { FileEnd, FileOpened } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import type { DownloadRequest } from '../files/types.js';
import type { OrgName } from '../identity/names.js';
import type { FileChunk } from '../wire/piece-frames.js';
import { CreditPool } from './files-credit.js';
import { type DownloadHost, LinkDownload } from './files-download.js';
import { readEnd, readOpened } from './files-facts.js';
import { asCancelled, asError, type FilesTiming, MAX_SESSIONS, stalled } from './files-terms.js';
import type { IncomingFrame, Lane } from './lane.js';

export interface FilesAskerOptions {
  readonly lane: Lane;
  /** Who is asked. */
  readonly org: OrgName;
  readonly timing: FilesTiming;
  readonly now: () => number;
  /** Hears of what only a peer that lies sends. */
  readonly alarm: (error: FedgateError) => void;
}

interface Opening {
  readonly request: DownloadRequest;
  readonly sinceMs: number;
  resolve(download: LinkDownload): void;
  reject(error: FedgateError): void;
}

/** Requests that a holder does not read: those that are given up again do not count as sessions. */
const MAX_UNREAD_OPENS = 1024;

/** The asker's side of a files lane. */
export class FilesAsker implements DownloadHost {
  readonly lane: Lane;
  readonly pool = new CreditPool();
  readonly #options: FilesAskerOptions;
  readonly #openings = new Map<number, Opening>();
  readonly #downloads = new Map<number, LinkDownload>();
  #last = 0;
  /** Bytes of sessions closed here that had been allowed and may be on their way. */
  #lateBytes = 0;
  #unreadOpens = 0;

  constructor(options: FilesAskerOptions) {
    this.lane = options.lane;
    this.#options = options;
  }

  get open(): number {
    return this.#openings.size + this.#downloads.size;
  }

  now(): number {
    return this.#options.now();
  }

  /** Rejects with what the holder says, LIMIT_REACHED, MANIFEST_INVALID, TRANSFER_STALLED (no answer), PEER_UNREACHABLE, or as `signal` says. */
  async ask(node: string, request: DownloadRequest, signal: AbortSignal): Promise<LinkDownload> {
    if (this.open >= MAX_SESSIONS) {
      const metadata = { limit: 'downloads from a peer' };
      throw new FedgateError('LIMIT_REACHED', `there are ${MAX_SESSIONS} downloads from it already`, { metadata });
    }
    this.#unreadOpens = this.lane.out.writable ? 0 : this.#unreadOpens + 1;
    if (this.#unreadOpens > MAX_UNREAD_OPENS)
      throw new FedgateError('TRANSFER_STALLED', `${this.#options.org} does not read what it is asked`);
    const { shareId, downloadId, look } = request;
    const session = ++this.#last;
    const value = { session, shareId, node, downloadId, look };
    return new Promise((resolve, reject) => {
      const abort = (): void => this.#giveUp(session, asCancelled(signal.reason));
      const settle = (): void => signal.removeEventListener('abort', abort);
      this.#openings.set(session, {
        request,
        sinceMs: this.now(),
        resolve: download => {
          settle();
          resolve(download);
        },
        reject: error => {
          settle();
          reject(error);
        },
      });
      this.lane.put({ $case: 'fileOpen', value });
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
    });
  }

  /** Throws FRAME_UNEXPECTED and CREDIT_EXCEEDED for what an honest holder never sends. */
  take(frame: IncomingFrame): void {
    if (frame.$case === 'chunk') this.#receive(frame.value);
    else if (frame.$case === 'fileOpened') this.#opened(frame.value);
    else if (frame.$case === 'fileEnd') this.#ended(frame.value);
    else throw new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} from the side that holds on a files lane`);
  }

  /** All that is asked was written when it was. */
  pump(): void {}

  /** What is open goes on; nothing is asked on a link that is going away. */
  drain(): void {}

  #opened({ session, share, manifest }: FileOpened): void {
    const opening = this.#openings.get(session);
    if (!opening) {
      if (session > this.#last || this.#downloads.has(session))
        throw new FedgateError('FRAME_UNEXPECTED', `session ${session} does not wait to be opened`);
      return;
    }
    this.#openings.delete(session);
    const { shareId: id, look } = opening.request;
    try {
      const facts = readOpened(share, manifest, { org: this.#options.org, id });
      const download = new LinkDownload({ session, look, ...facts }, this);
      this.#downloads.set(session, download);
      opening.resolve(download);
    } catch (error) {
      this.#options.alarm(asError(error));
      this.#sayClosed(session, false);
      opening.reject(asError(error));
    }
  }

  #receive(chunk: FileChunk): void {
    const download = this.#downloads.get(chunk.session);
    if (download) return download.receive(chunk);
    if (chunk.session > this.#last || this.#openings.has(chunk.session))
      throw new FedgateError('FRAME_UNEXPECTED', `bytes of session ${chunk.session}, which is not open`);
    this.#lateBytes -= chunk.data.length;
    if (this.#lateBytes < 0)
      throw new FedgateError('CREDIT_EXCEEDED', 'more bytes of sessions that are over than there was credit for');
  }

  #ended(end: FileEnd): void {
    const { session } = end;
    if (session > this.#last) throw new FedgateError('FRAME_UNEXPECTED', `session ${session} was never opened`);
    const error = readEnd(end, this.#options.org);
    this.#openings.get(session)?.reject(error);
    this.#openings.delete(session);
    const download = this.#downloads.get(session);
    this.#downloads.delete(session);
    download?.end(error);
  }

  closed({ session }: LinkDownload, complete: boolean, late: number): void {
    if (!this.#downloads.delete(session)) return;
    this.#lateBytes += late;
    this.#sayClosed(session, complete);
  }

  /** Ends what does not move. */
  check(): void {
    const { stallMs } = this.#options.timing;
    for (const [session, { sinceMs }] of this.#openings) {
      if (this.now() - sinceMs > stallMs) this.#giveUp(session, stalled(`no answer for ${stallMs / 1000} s`));
    }
    for (const download of this.#downloads.values()) download.check(this.#options.timing);
  }

  /** There is no way to the holder any more. */
  end(reason: FedgateError): void {
    const { org } = this.#options;
    const error = new FedgateError('PEER_UNREACHABLE', `the link to ${org} ended: ${reason.message}`, {
      metadata: { org },
      cause: reason,
    });
    for (const opening of this.#openings.values()) opening.reject(error);
    for (const download of this.#downloads.values()) download.end(error);
    this.#openings.clear();
    this.#downloads.clear();
  }

  #giveUp(session: number, error: FedgateError): void {
    const opening = this.#openings.get(session);
    if (!opening) return;
    this.#openings.delete(session);
    this.#sayClosed(session, false);
    opening.reject(error);
  }

  #sayClosed(session: number, complete: boolean): void {
    this.lane.put({ $case: 'fileClose', value: { session, complete } });
  }
}
