import type { FileClose, FileOpen } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { Fifo } from '../fifo.js';
import { manifestToProto } from '../files/manifest.js';
import type { Asker, DownloadRequest, ShareHolder } from '../files/types.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import { toRpcStatus } from '../transport/status.js';
import { encodeFileData } from '../wire/piece-frames.js';
import { shareToFrame } from './files-facts.js';
import { Serving, type ServingHost } from './files-serving.js';
import { asError, type FilesTiming, MAX_SESSIONS } from './files-terms.js';
import type { IncomingFrame, Lane } from './lane.js';

export interface FilesHolderOptions {
  readonly lane: Lane;
  /** Whose nodes ask. */
  readonly org: OrgName;
  readonly holder: ShareHolder;
  readonly timing: FilesTiming;
  readonly now: () => number;
}

/** What the asker is still to be told of: that a session is open, or that it is over. */
type Answer = Serving | { readonly session: number; readonly error: FedgateError };

/** Answers that an asker does not read. Each is small until it is written. */
const MAX_UNREAD_ANSWERS = 1024;

/** The holder's side of a files lane: opens sessions, and sends their data in turn whenever the lane takes more. */
export class FilesHolder implements ServingHost {
  readonly #options: FilesHolderOptions;
  readonly #sessions = new Map<number, Serving | AbortController>();
  readonly #answers = new Fifo<Answer>();
  readonly #turns = new Fifo<Serving>();
  /** Sessions that are being opened, also those that were closed meanwhile: each may cost the disk something. */
  #opening = 0;
  #open = 0;
  #last = 0;
  #draining = false;
  #pumping = false;

  constructor(options: FilesHolderOptions) {
    this.#options = options;
  }

  /** Sessions that are open. */
  get open(): number {
    return this.#open;
  }

  now(): number {
    return this.#options.now();
  }

  /** Throws FRAME_UNEXPECTED for what an honest asker never sends, LIMIT_REACHED when it reads no answers. */
  take(frame: IncomingFrame): void {
    if (frame.$case === 'fileCredit') this.#serving(frame.value.session)?.credit(frame.value.bytes);
    else if (frame.$case === 'fileWant') this.#serving(frame.value.session)?.want(frame.value);
    else if (frame.$case === 'fileOpen') this.#take(frame.value);
    else if (frame.$case === 'fileClose') this.#close(frame.value);
    else throw new FedgateError('FRAME_UNEXPECTED', `a ${frame.$case} from the side that asks on a files lane`);
  }

  #take({ session, shareId, node, downloadId, look }: FileOpen): void {
    if (session <= this.#last) throw new FedgateError('FRAME_UNEXPECTED', `session ${session} is not a new one`);
    this.#last = session;
    const request = { shareId: Buffer.from(shareId), downloadId: Buffer.from(downloadId), look };
    try {
      this.#checkOpen(request);
      const asker = { org: this.#options.org, node: parseNodeName(node, 'node') };
      void this.#begin(session, asker, request);
    } catch (error) {
      this.#answer({ session, error: asError(error) });
    }
    if (this.#answers.length > MAX_UNREAD_ANSWERS) {
      const metadata = { limit: 'answers' };
      throw new FedgateError('LIMIT_REACHED', `${this.#options.org} does not read its answers`, { metadata });
    }
  }

  #close({ session, complete }: FileClose): void {
    const found = this.#find(session);
    if (found instanceof Serving) this.#forget(found, complete);
    else found?.abort(new FedgateError('CANCELLED', 'the asker gave up'));
    this.#sessions.delete(session);
  }

  /** Opens nothing more. */
  drain(): void {
    this.#draining = true;
  }

  /** Ends what does not move. */
  check(): void {
    for (const found of this.#sessions.values()) if (found instanceof Serving) found.check(this.#options.timing);
  }

  /** The lane is over. */
  end(reason: FedgateError): void {
    for (const found of this.#sessions.values()) {
      if (found instanceof Serving) found.close(false);
      else found.abort(reason);
    }
    this.#sessions.clear();
    this.#open = 0;
    this.#answers.drain();
    this.#turns.drain();
  }

  wake(serving: Serving): void {
    if (!serving.queued && serving.sendable) {
      serving.queued = true;
      this.#turns.push(serving);
    }
    this.pump();
  }

  ended(serving: Serving, error: FedgateError): void {
    this.#sessions.delete(serving.session);
    this.#open--;
    this.#answer({ session: serving.session, error });
  }

  /** Writes what is to be said, then data, one chunk of each session in turn, for as long as the lane takes it. */
  pump(): void {
    const { out } = this.#options.lane;
    // A write can bring about a wake.
    if (this.#pumping) return;
    this.#pumping = true;
    while (out.writable) {
      const answer = this.#answers.shift();
      if (answer) this.#say(answer);
      else if (!this.#sendNext()) break;
    }
    this.#pumping = false;
  }

  #checkOpen({ shareId, downloadId }: DownloadRequest): void {
    if (this.#draining) throw new FedgateError('DRAINING', 'the gateway opens no more downloads on this link');
    if (this.#opening + this.#open >= MAX_SESSIONS) {
      const metadata = { limit: 'downloads of a peer' };
      throw new FedgateError('LIMIT_REACHED', `there are ${MAX_SESSIONS} downloads already`, { metadata });
    }
    if (shareId.length !== 16) throw fieldError('share_id', 'must be 16 bytes');
    if (downloadId.length !== 16) throw fieldError('download_id', 'must be 16 bytes');
  }

  async #begin(session: number, asker: Asker, request: DownloadRequest): Promise<void> {
    const opening = new AbortController();
    this.#sessions.set(session, opening);
    this.#opening++;
    try {
      const download = await this.#options.holder.open(asker, request, opening.signal);
      if (opening.signal.aborted) return download.close(false);
      const serving = new Serving(session, download, request.look, this);
      this.#sessions.set(session, serving);
      this.#open++;
      this.#answer(serving);
    } catch (error) {
      if (opening.signal.aborted) return;
      this.#sessions.delete(session);
      this.#answer({ session, error: asError(error) });
    } finally {
      this.#opening--;
    }
  }

  #forget(serving: Serving, complete: boolean): void {
    serving.close(complete);
    this.#open--;
  }

  #find(session: number): Serving | AbortController | undefined {
    if (session > this.#last) throw new FedgateError('FRAME_UNEXPECTED', `session ${session} was never opened`);
    return this.#sessions.get(session);
  }

  #serving(session: number): Serving | undefined {
    const found = this.#find(session);
    if (found instanceof AbortController)
      throw new FedgateError('FRAME_UNEXPECTED', `session ${session} is not open yet`);
    return found;
  }

  #answer(answer: Answer): void {
    this.#answers.push(answer);
    this.pump();
  }

  #say(answer: Answer): void {
    const { lane } = this.#options;
    const { session } = answer;
    if (!(answer instanceof Serving)) {
      lane.put({ $case: 'fileEnd', value: { session, error: toRpcStatus(answer.error) } });
    } else if (!answer.over) {
      const { share, manifest } = answer.download;
      const value = { session, share: shareToFrame(share), manifest: manifestToProto(manifest) };
      lane.put({ $case: 'fileOpened', value });
      answer.announced = true;
    }
  }

  #sendNext(): boolean {
    const serving = this.#turns.shift();
    if (!serving) return false;
    serving.queued = false;
    const chunk = serving.take();
    if (chunk) this.#options.lane.out.put(encodeFileData(chunk));
    if (serving.sendable) {
      serving.queued = true;
      this.#turns.push(serving);
    }
    return true;
  }
}
