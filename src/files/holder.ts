import { describe, FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Contents, HeldContent } from './content/types.js';
import { formatShareId } from './share-id.js';
import type { Admission, Shares } from './shares.js';
import type { Transfer, Transfers } from './transfers.js';
import type { Asker, Download, DownloadRequest, Manifest, ShareFacts, ShareHolder } from './types.js';

export interface HolderOptions {
  readonly org: OrgName;
  readonly shares: Shares;
  readonly contents: Pick<Contents, 'hold'>;
  readonly transfers: Transfers;
  /** Whether somebody of another organisation may fetch a share, beside what the share says. Rejects with why not. */
  readonly allows?: (asker: Asker, shareId: string) => void | Promise<void>;
}

/** Downloads that are open at once, of all organisations. */
const MAX_OPEN = 1_000;
/** The same of one organisation. */
const MAX_OPEN_PER_ORG = 500;

/** Opens shares of the own organisation, for its own nodes and, through a link, for those of others. */
export class Holder implements ShareHolder {
  readonly #options: HolderOptions;
  readonly #open = new Map<OrgName, number>();
  #openInAll = 0;

  constructor(options: HolderOptions) {
    this.#options = options;
  }

  async open(asker: Asker, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    signal.throwIfAborted();
    const leave = this.#enter(asker.org);
    try {
      return await this.#opened(asker, request, leave, signal);
    } catch (error) {
      leave();
      throw error;
    }
  }

  async #opened(asker: Asker, request: DownloadRequest, leave: () => void, signal: AbortSignal): Promise<Download> {
    const { shares, contents, transfers, org } = this.#options;
    if (asker.org !== org) await this.#options.allows?.(asker, formatShareId({ org, id: request.shareId }));
    const admission = await shares.admit(asker, request);
    let held: HeldContent | undefined;
    try {
      held = await contents.hold(admission.share.manifestSha256);
      if (!held) throw contentLost(admission.share);
      signal.throwIfAborted();
      // It may have been unshared while its content was looked for.
      admission.ended.throwIfAborted();
    } catch (error) {
      held?.release();
      admission.release();
      throw error;
    }
    const { name, size } = admission.share;
    const shareId = formatShareId(admission.share);
    // What own nodes fetch is told of where they are served.
    const transfer =
      request.look || asker.org === org
        ? undefined
        : transfers.begin({ kind: 'send', shareId, name, org: asker.org, node: asker.node, totalBytes: size });
    return new LocalDownload(admission, held, shares, transfer, leave);
  }

  /** Throws LIMIT_REACHED. Returns the way out, to be used once. */
  #enter(org: OrgName): () => void {
    const open = this.#open.get(org) ?? 0;
    if (this.#openInAll >= MAX_OPEN || open >= MAX_OPEN_PER_ORG) {
      throw new FedgateError('LIMIT_REACHED', 'too many downloads are open', {
        metadata: { limit: 'open downloads' },
        retryAfterMs: 1_000,
      });
    }
    this.#openInAll++;
    this.#open.set(org, open + 1);
    return () => {
      this.#openInAll--;
      const left = (this.#open.get(org) ?? 1) - 1;
      if (left > 0) this.#open.set(org, left);
      else this.#open.delete(org);
    };
  }
}

class LocalDownload implements Download {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly ended: AbortSignal;
  readonly #held: HeldContent;
  readonly #admission: Admission;
  readonly #shares: Shares;
  readonly #transfer: Transfer | undefined;
  readonly #leave: () => void;
  #closed = false;

  constructor(
    admission: Admission,
    held: HeldContent,
    shares: Shares,
    transfer: Transfer | undefined,
    leave: () => void,
  ) {
    this.share = admission.share;
    this.manifest = held.manifest;
    this.ended = admission.ended;
    this.#admission = admission;
    this.#held = held;
    this.#shares = shares;
    this.#transfer = transfer;
    this.#leave = leave;
  }

  async *readPiece(index: number, offset: number, signal: AbortSignal): AsyncIterable<Buffer> {
    this.#check(signal);
    for await (const chunk of this.#held.readPiece(index, offset, signal)) {
      this.#check(signal);
      this.#transfer?.done(chunk.length);
      yield chunk;
    }
    // What ended in the last chunk has ended, too.
    this.#check(signal);
  }

  close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held.release();
    this.#admission.release();
    this.#leave();
    this.#transfer?.end(complete ? undefined : describe(this.ended.aborted ? this.ended.reason : 'left'));
  }

  #check(signal: AbortSignal): void {
    this.ended.throwIfAborted();
    signal.throwIfAborted();
    if (this.#closed) throw new FedgateError('CANCELLED', 'the download is closed');
    this.#shares.checkNow(this.share.id);
  }
}

const contentLost = (share: ShareFacts): FedgateError =>
  new FedgateError('FILE_DAMAGED', `the content of ${formatShareId(share)} is not on the disk any more`, {
    metadata: { share: formatShareId(share) },
  });
