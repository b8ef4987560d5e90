import type { ServerReadableStream } from '@grpc/grpc-js';
import type { ShareResponse } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { describe, FedgateError } from '../errors.js';
import { firstOf, unlessAborted } from '../files/abort.js';
import { organisationsOf } from '../files/audience.js';
import type { Upload } from '../files/content/types.js';
import { formatShareId } from '../files/share-id.js';
import type { StoredShare } from '../files/share-row.js';
import type { Transfer } from '../files/transfers.js';
import { type FileFrame, readFileFrame } from '../wire/file-frames.js';
import type { FileHost } from './file-host.js';
import { type CheckedStart, checkFuture, readShareStart, toOwnShare } from './file-messages.js';
import { ProgressGuard } from './progress-guard.js';
import { whileGranted } from './while-granted.js';

/** One Share call: a file on its way from a node to the disk. Frames are read one at a time, each when the one before is taken. */
export class ShareCall {
  readonly #host: FileHost;
  readonly #node: string;
  readonly #frames: AsyncIterator<Buffer>;
  readonly #guard: ProgressGuard;

  constructor(call: ServerReadableStream<Buffer, ShareResponse>, node: string, host: FileHost) {
    this.#host = host;
    this.#node = node;
    // A plain `for await` destroys the call when it is left early, and its answer is never sent.
    this.#frames = call.iterator({ destroyOnReturn: false });
    this.#guard = new ProgressGuard(host.progress);
  }

  async run(signal: AbortSignal): Promise<ShareResponse> {
    const stop = firstOf([signal, this.#host.draining, this.#guard.stalled]);
    try {
      return { share: toOwnShare(await this.#share(stop.signal)) };
    } finally {
      stop.stop();
      this.#guard.stop();
    }
  }

  async #share(signal: AbortSignal): Promise<StoredShare> {
    const { groups, shares, contents } = this.#host;
    const first = await this.#next(signal);
    if (!first || !('opening' in first)) throw unexpected('a Share call begins with `start`');
    const start = readShareStart(first.opening, this.#node, groups);
    const { ownerNode: owner, uploadId } = start.terms;
    this.#checkGrants(start);
    const finished = await this.#finished(start);
    if (finished) return finished;
    checkFuture(start.terms.expireMs, this.#host.now(), 'start.expire_time_ms');
    shares.checkRoom();
    const upload = await contents.upload({ owner, uploadId, size: start.size, start: start.encoded });
    try {
      // Another call may have finished it in the meantime: then this one has begun it anew.
      const meanwhile = await this.#finished(start);
      if (!meanwhile) return await this.#receive(start, upload, signal);
      await upload.close();
      await contents.cancelUpload(owner, uploadId);
      return meanwhile;
    } finally {
      await upload.close();
    }
  }

  /** Throws NOT_GRANTED. */
  #checkGrants({ terms }: CheckedStart): void {
    const { access, groups } = this.#host;
    access.checkSharing(this.#node);
    for (const org of organisationsOf(terms.audience, groups)) access.checkShare(this.#node, org);
  }

  /** The share that the upload has become already. Throws UPLOAD_MISMATCH when it was begun otherwise, SHARE_ENDED. */
  async #finished({ terms }: CheckedStart): Promise<StoredShare | undefined> {
    const share = await this.#host.shares.ofUpload(terms.ownerNode, terms.uploadId);
    if (!share) return undefined;
    if (!share.startSha256.equals(terms.startSha256)) {
      throw new FedgateError('UPLOAD_MISMATCH', 'the upload of that id began otherwise, and is a share by now');
    }
    this.#host.shares.checkNow(share.id);
    return share;
  }

  async #receive(start: CheckedStart, upload: Upload, signal: AbortSignal): Promise<StoredShare> {
    const { terms, size } = start;
    const transfer = this.#host.transfers.begin({
      kind: 'upload',
      shareId: '',
      name: terms.name,
      org: this.#host.org,
      node: this.#node,
      totalBytes: size ?? 0,
    });
    const granted = whileGranted(this.#host.access, () => this.#checkGrants(start));
    const stop = firstOf([signal, upload.taken, granted.gone]);
    try {
      transfer.done(upload.committedSize);
      await this.#chunks(start, upload, transfer, stop.signal);
      const share = await this.#finish(start, upload);
      transfer.shareId = formatShareId(share);
      transfer.end();
      return share;
    } catch (error) {
      transfer.end(describe(error));
      throw error;
    } finally {
      stop.stop();
      granted.stop();
    }
  }

  async #chunks({ size }: CheckedStart, upload: Upload, transfer: Transfer, signal: AbortSignal): Promise<void> {
    let expected = upload.committedSize;
    for (let frame = await this.#next(signal); frame; frame = await this.#next(signal)) {
      if (!('chunk' in frame)) throw unexpected('`start` comes once');
      const { offset, data } = frame.chunk;
      if (offset !== expected) throw offsetInvalid(`a chunk at ${offset} where ${expected} was expected`, upload);
      expected += data.length;
      if (size !== undefined && expected > size) throw offsetInvalid(`more than the ${size} bytes announced`, upload);
      await upload.write(offset, data);
      transfer.done(data.length);
    }
    if (size !== undefined && expected < size) {
      throw offsetInvalid(`the stream ended at ${expected} of ${size} bytes`, upload);
    }
  }

  /** The share, its content and its place are stored together. */
  async #finish({ terms }: CheckedStart, upload: Upload): Promise<StoredShare> {
    const { shares } = this.#host;
    let share: StoredShare | undefined;
    const content = await upload.finish((change, made) => {
      share = shares.make(terms, made);
      shares.put(change, share);
    });
    content.release();
    if (!share) throw new Error('an upload was finished without its share');
    shares.enter(share);
    return share;
  }

  /** Undefined: the client has sent all. Throws FRAME_MALFORMED, FRAME_TOO_LARGE, and what the signal says. */
  async #next(signal: AbortSignal): Promise<FileFrame | undefined> {
    const next = await this.#guard.waiting(unlessAborted(this.#frames.next(), signal));
    if (next.done) {
      // The stream of a call that was cancelled ends as one that was half-closed.
      signal.throwIfAborted();
      return undefined;
    }
    this.#guard.moved(next.value.length);
    return readFileFrame(next.value);
  }
}

const unexpected = (message: string): FedgateError => new FedgateError('FRAME_UNEXPECTED', message);

const offsetInvalid = (message: string, { committedSize }: Upload): FedgateError =>
  new FedgateError('OFFSET_INVALID', message, { metadata: { committedSize: String(committedSize) } });
