import { createHash } from 'node:crypto';
import { rename, unlink } from 'node:fs/promises';
import { storeFailure } from '../../store/failures.js';
import type { FileState, OpenFile } from '../disk/open-file.js';
import { WriteQueue } from '../disk/write-queue.js';

/** A temporary file that is to become a piece. Hashed while it is written: no piece is ever in memory. */
export class PieceDraft {
  #path: string;
  readonly #file: OpenFile;
  readonly #hash = createHash('sha256');
  #digest: Buffer | undefined;
  #length = 0;
  #closed = false;
  readonly #queue: WriteQueue;

  constructor(path: string, file: OpenFile) {
    this.#path = path;
    this.#file = file;
    this.#queue = new WriteQueue((buffers, position) => file.write(buffers, position));
  }

  get length(): number {
    return this.#length;
  }

  /** SHA-256 of all that was written. Nothing may be written any more. */
  get sha256(): Buffer {
    this.#digest ??= this.#hash.digest();
    return this.#digest;
  }

  /**
   * Writes a copy behind what there is. Resolves when the next may come. Throws STORE_*, also for chunks before it; the draft is then of no use
   * any more. `meanwhile` runs while the disk is at work.
   */
  async write(chunk: Buffer, meanwhile?: () => void): Promise<void> {
    this.#length += chunk.length;
    this.#queue.push(chunk);
    this.#hash.update(chunk);
    meanwhile?.();
    await this.#orFail(this.#queue.ready());
  }

  /** Resolves when all of it is written. Throws as `write`. */
  async flush(): Promise<void> {
    await this.#orFail(this.#queue.flush());
  }

  /** Gives it another name, in the place of whatever has it. */
  async rename(path: string): Promise<void> {
    await rename(this.#path, path);
    this.#path = path;
  }

  /** Resolves when all of it is on stable storage. To be called behind `flush`. */
  async sync(): Promise<void> {
    // Dated back, so that whoever writes to it later, be it at once, changes its time.
    const aSecondAgo = Date.now() / 1_000 - 1;
    await this.#file.utimes(aSecondAgo, aSecondAgo);
    await this.#file.datasync();
  }

  state(): FileState {
    return this.#file.state();
  }

  /** It stays as it is. */
  close(): void {
    this.#closed = true;
    this.#file.close();
  }

  /** Removes it, unless it was closed. What stays for whatever reason is swept at the next start. */
  async discard(): Promise<void> {
    if (this.#closed) return;
    this.#queue.drop();
    this.close();
    await unlink(this.#path).catch(() => undefined);
  }

  async #orFail(written: Promise<void>): Promise<void> {
    try {
      await written;
    } catch (error) {
      throw storeFailure(error, 'a piece was not written');
    }
  }
}
