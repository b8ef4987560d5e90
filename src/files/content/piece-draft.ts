import { createHash } from 'node:crypto';
import { type FileHandle, rename, unlink } from 'node:fs/promises';
import { storeFailure } from '../../store/failures.js';
import type { FileState } from './fresh-pieces.js';

/** A temporary file that is to become a piece. Hashed while it is written: no piece is ever in memory. */
export class PieceDraft {
  #path: string;
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #digest: Buffer | undefined;
  #length = 0;
  #closed = false;

  constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  get length(): number {
    return this.#length;
  }

  /** SHA-256 of all that was written. Nothing may be written any more. */
  get sha256(): Buffer {
    this.#digest ??= this.#hash.digest();
    return this.#digest;
  }

  /** Writes behind what there is. Throws STORE_*; the draft is then of no use any more. `meanwhile` runs while the disk is at work. */
  async write(chunk: Buffer, meanwhile?: () => void): Promise<void> {
    const at = this.#length;
    this.#length += chunk.length;
    try {
      const writing = this.#writeAll(chunk, at);
      this.#hash.update(chunk);
      meanwhile?.();
      await writing;
    } catch (error) {
      throw storeFailure(error, 'a piece was not written');
    }
  }

  /** Gives it another name, in the place of whatever has it. */
  async rename(path: string): Promise<void> {
    await rename(this.#path, path);
    this.#path = path;
  }

  /** Resolves when all of it is on stable storage. */
  async sync(): Promise<void> {
    // Dated back, so that whoever writes to it later, be it at once, changes its time.
    const aSecondAgo = Date.now() / 1_000 - 1;
    await this.#file.utimes(aSecondAgo, aSecondAgo);
    await this.#file.datasync();
  }

  state(): Promise<FileState> {
    return this.#file.stat({ bigint: true });
  }

  /** It stays as it is. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close().catch(() => undefined);
  }

  /** Removes it, unless it was closed. What stays for whatever reason is swept at the next start. */
  async discard(): Promise<void> {
    if (this.#closed) return;
    await this.close();
    await unlink(this.#path).catch(() => undefined);
  }

  async #writeAll(chunk: Buffer, at: number): Promise<void> {
    let done = 0;
    while (done < chunk.length) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.length - done, at + done);
      done += bytesWritten;
    }
  }
}
