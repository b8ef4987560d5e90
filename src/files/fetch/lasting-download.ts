import { Backoff } from '../../backoff.js';
import { describe, FedgateError, type Reason } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { pause } from '../abort.js';
import type { Download, DownloadRequest, Manifest, RemoteShares, ShareFacts } from '../types.js';

export interface LastingOptions {
  readonly remote: RemoteShares;
  /** How long nothing may come before it is given up, milliseconds. */
  readonly patienceMs: number;
  readonly now: () => number;
}

/** Who says one of these will say it again: asking once more is of no use. All else is the way there. */
const FINAL: ReadonlySet<Reason> = new Set<Reason>([
  'SHARE_UNKNOWN',
  'SHARE_ENDED',
  'APPROVAL_MISSING',
  'FILE_DAMAGED',
  'FILE_CHANGED',
  'FEATURE_UNSUPPORTED',
  'MANIFEST_INVALID',
  'NOT_GRANTED',
  'POLICY_DENIED',
  'ORG_INACTIVE',
  'ORG_UNKNOWN',
]);

const RETRY = { firstMs: 100, maxMs: 5_000, factor: 2, random: Math.random } as const;

/**
 * A download through a link that outlives the link: opened again under the same id when the way to the holder is lost, and read on from
 * the byte where it stopped.
 */
export class LastingDownload {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly #options: LastingOptions;
  readonly #org: OrgName;
  readonly #node: string;
  readonly #request: DownloadRequest;
  readonly #over = new AbortController();
  readonly #backoff = new Backoff(RETRY);
  #current: Promise<Download>;
  #download: Download | undefined;
  #reading = 0;
  #progressMs: number;

  private constructor(
    options: LastingOptions,
    [org, node, request]: readonly [OrgName, string, DownloadRequest],
    first: Download,
  ) {
    this.share = first.share;
    this.manifest = first.manifest;
    this.#options = options;
    this.#org = org;
    this.#node = node;
    this.#request = request;
    this.#progressMs = options.now();
    this.#current = Promise.resolve(first);
    this.#adopt(first);
  }

  /** Rejects as RemoteShares.open. Whoever opened it closes it. */
  static async open(
    options: LastingOptions,
    org: OrgName,
    node: string,
    request: DownloadRequest,
    signal: AbortSignal,
  ): Promise<LastingDownload> {
    return new LastingDownload(options, [org, node, request], await options.remote.open(org, node, request, signal));
  }

  /** Fires when the right to it ends, or the way to it could not be found again; its reason is a FedgateError. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** The bytes of a piece, as the peer sent them, across as many links as it takes. Throws the reason of `over` or of the signal. */
  async *read(index: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    let offset = 0;
    this.#reading++;
    try {
      for (;;) {
        const download = await this.#current;
        this.#over.signal.throwIfAborted();
        try {
          for await (const chunk of download.readPiece(index, offset, signal)) {
            this.#progressMs = this.#options.now();
            this.#backoff.reset();
            offset += chunk.length;
            yield chunk;
          }
          return;
        } catch (error) {
          signal.throwIfAborted();
          this.#lost(download, error);
        }
      }
    } finally {
      this.#reading--;
    }
  }

  close(complete: boolean): void {
    this.#end(new FedgateError('CANCELLED', 'the download is closed'), complete);
  }

  #adopt(download: Download): void {
    this.#download = download;
    // Who only waits for what is under way elsewhere asks for nothing here.
    if (this.#reading === 0) this.#progressMs = this.#options.now();
    const lost = (): void => this.#lost(download, download.ended.reason);
    if (download.ended.aborted) lost();
    else download.ended.addEventListener('abort', lost, { once: true });
  }

  #lost(download: Download, error: unknown): void {
    if (this.#over.signal.aborted || this.#download !== download) return;
    this.#download = undefined;
    download.close(false);
    // While nothing was asked for, nothing could come: the patience begins with the loss.
    if (this.#reading === 0) this.#progressMs = this.#options.now();
    if (isFinal(error)) this.#end(error);
    else this.#current = this.#reopen(download, error);
    this.#current.catch(() => undefined);
  }

  async #reopen(lost: Download, cause: unknown): Promise<Download> {
    let last = cause;
    while (this.#options.now() - this.#progressMs < this.#options.patienceMs) {
      await pause(this.#backoff.next(), this.over);
      try {
        const fresh = await this.#options.remote.open(this.#org, this.#node, this.#request, this.over);
        if (this.over.aborted) fresh.close(false);
        this.over.throwIfAborted();
        this.#checkSame(fresh);
        this.#adopt(fresh);
        return fresh;
      } catch (error) {
        this.over.throwIfAborted();
        if (isFinal(error)) {
          this.#end(error);
          throw error;
        }
        last = error;
      }
    }
    const gone = unreachable(lost.share.org, last);
    this.#end(gone);
    throw gone;
  }

  #checkSame(fresh: Download): void {
    if (fresh.share.manifestSha256.equals(this.share.manifestSha256)) return;
    fresh.close(false);
    throw new FedgateError('FILE_CHANGED', 'the share stands for other content than before');
  }

  #end(error: FedgateError, complete = false): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort(error);
    this.#download?.close(complete);
    this.#download = undefined;
  }
}

const isFinal = (error: unknown): error is FedgateError => error instanceof FedgateError && FINAL.has(error.reason);

function unreachable(org: OrgName, cause: unknown): FedgateError {
  if (cause instanceof FedgateError && cause.reason === 'TRANSFER_STALLED') return cause;
  return new FedgateError('PEER_UNREACHABLE', `${org} was lost in the middle of the file: ${describe(cause)}`, {
    metadata: { org },
    cause,
  });
}
