import { FedgateError } from '../errors.js';
import {
  MAX_HANDED_SNAPSHOT_BYTES,
  type OfferedSnapshot,
  PART_TIMEOUT_MS,
  SNAPSHOT_TIMEOUT_MS,
} from './acquaintance-terms.js';

/** A snapshot on its way from a peer, part by part. */
export class SnapshotTransfer {
  readonly #offered: OfferedSnapshot;
  readonly #parts: Buffer[] = [];
  readonly #whole: Promise<Buffer>;
  #length = 0;
  #settle: { resolve(bytes: Buffer): void; reject(error: FedgateError): void } = {
    resolve: () => undefined,
    reject: () => undefined,
  };
  #stalled: NodeJS.Timeout;
  readonly #late: NodeJS.Timeout;

  /** Throws SNAPSHOT_INVALID for one that is too large. */
  constructor(offered: OfferedSnapshot) {
    if (offered.sizeBytes < 1 || offered.sizeBytes > MAX_HANDED_SNAPSHOT_BYTES)
      throw new FedgateError('SNAPSHOT_INVALID', `a peer offers a snapshot of ${offered.sizeBytes} bytes`);
    this.#offered = offered;
    this.#whole = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#whole.catch(() => undefined);
    this.#stalled = this.#stallTimer();
    this.#late = setTimeout(() => this.end(tooSlow()), SNAPSHOT_TIMEOUT_MS);
  }

  /** Rejects with PEER_UNREACHABLE when it stops coming. */
  get whole(): Promise<Buffer> {
    return this.#whole;
  }

  /** Takes the next part. True: it is whole. Throws FRAME_UNEXPECTED, which must end the link. */
  take(version: bigint, offset: number, data: Uint8Array): boolean {
    const { version: expected, sizeBytes } = this.#offered;
    if (version !== expected || offset !== this.#length || data.length === 0 || offset + data.length > sizeBytes)
      throw new FedgateError('FRAME_UNEXPECTED', `a part of snapshot ${version} at ${offset} that was not to come`);
    clearTimeout(this.#stalled);
    // A view would keep the whole frame.
    this.#parts.push(Buffer.from(data));
    this.#length += data.length;
    if (this.#length < sizeBytes) {
      this.#stalled = this.#stallTimer();
      return false;
    }
    clearTimeout(this.#late);
    this.#settle.resolve(Buffer.concat(this.#parts));
    return true;
  }

  end(error: FedgateError): void {
    clearTimeout(this.#stalled);
    clearTimeout(this.#late);
    this.#settle.reject(error);
  }

  #stallTimer(): NodeJS.Timeout {
    return setTimeout(() => this.end(tooSlow()), PART_TIMEOUT_MS);
  }
}

const tooSlow = (): FedgateError =>
  new FedgateError('PEER_UNREACHABLE', 'the snapshot that a peer offered did not come in time');
