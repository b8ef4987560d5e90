import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';

/** How much may wait for the disk, bytes. */
const WAITING_BYTES = 4 * 1024 * 1024;

/** A file that is hashed while it is written. */
export class HashedFile {
  readonly #hash = createHash('sha256');
  readonly #stream;

  constructor(path: string) {
    this.#stream = createWriteStream(path, { highWaterMark: WAITING_BYTES, flush: true });
  }

  /** False: the next is to wait for `drain`. */
  write(chunk: Uint8Array): boolean {
    this.#hash.update(chunk);
    return this.#stream.write(chunk);
  }

  once(event: 'drain', listener: () => void): void {
    this.#stream.once(event, listener);
  }

  /** Resolves when all of it is on stable storage, with its SHA-256, hexadecimal. */
  async finish(): Promise<string> {
    const closed = once(this.#stream, 'close');
    this.#stream.end();
    await closed;
    return this.#hash.digest('hex');
  }
}
