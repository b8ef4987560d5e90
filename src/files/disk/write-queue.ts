import { BLOCK_BYTES, type BlockPool, writeBlocks } from './blocks.js';
import { behind } from './buffers.js';

/** What one file may have waiting for the disk: as long as it is less, nobody waits for a disk that is slow for a moment. */
export const WAITING_BYTES = 4 * 1024 * 1024;

/** Writes all of the buffers from a place on, or rejects. They stay as they are until it resolves. */
export type WriteBuffers = (buffers: readonly Buffer[], position: number) => Promise<void>;

/**
 * Bytes on their way to one file, in order, one write at a time: gathered in blocks that lie at multiples of a block's size in the file, and what
 * comes while the disk is at work goes with the next write. A write that failed fails all that follow.
 */
export class WriteQueue {
  readonly #write: WriteBuffers;
  readonly #pool: BlockPool;
  /** Full, or to be written as they are. */
  #waiting: Buffer[] = [];
  /** The one that is being filled, from its beginning on. */
  #block: Buffer | undefined;
  #filled = 0;
  #waitingBytes = 0;
  #writingBytes = 0;
  /** Where the first waiting byte belongs. */
  #position = 0;
  #writing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(write: WriteBuffers, pool: BlockPool = writeBlocks) {
    this.#write = write;
    this.#pool = pool;
  }

  /** Where the next byte belongs if it is to go with those before it. */
  get next(): number {
    return this.#position + this.#waitingBytes + this.#filled;
  }

  /** Takes bytes behind those before them. They are copied. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const room = BLOCK_BYTES - (this.next % BLOCK_BYTES);
      this.#block ??= this.#pool.take();
      const copied = bytes.copy(this.#block, this.#filled, at, at + room);
      at += copied;
      this.#filled += copied;
      if (copied === room) this.#seal();
    }
    this.#begin();
  }

  /** Resolves when more may come. Throws what a write before failed with. */
  async ready(): Promise<void> {
    while (this.#tooMuch) {
      this.#throwFailure();
      await this.#writing;
    }
    this.#throwFailure();
  }

  /** Resolves when all of it is written. Throws as `ready`. */
  async flush(): Promise<void> {
    this.#seal();
    while (this.#waitingBytes > 0 || this.#writing !== undefined) {
      this.#throwFailure();
      this.#begin();
      await this.#writing;
    }
    this.#throwFailure();
  }

  /** From now on bytes belong behind `position`. Only when nothing waits. */
  seek(position: number): void {
    this.#position = position;
  }

  /** Throws away what waits. What is being written is written. */
  drop(): void {
    this.#seal();
    this.#release(this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  /** Others wait for blocks too when there are none: then each has one that is being written, and one that waits. */
  get #tooMuch(): boolean {
    const bytes = this.#waitingBytes + this.#writingBytes;
    return bytes >= WAITING_BYTES || (this.#waiting.length > 0 && this.#pool.scarce);
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }

  #seal(): void {
    if (!this.#block) return;
    this.#waiting.push(this.#block.subarray(0, this.#filled));
    this.#waitingBytes += this.#filled;
    this.#block = undefined;
    this.#filled = 0;
  }

  #begin(): void {
    if (this.#writing !== undefined || this.#failure || this.#waiting.length === 0) return;
    const batch = this.#waiting;
    const bytes = this.#waitingBytes;
    const at = this.#position;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#writingBytes = bytes;
    this.#position = at + bytes;
    this.#writing = this.#write(batch, at)
      .catch(error => {
        this.#failure ??= { error };
      })
      .then(() => {
        this.#writing = undefined;
        this.#writingBytes = 0;
        this.#release(batch);
        this.#begin();
      });
  }

  #release(batch: readonly Buffer[]): void {
    for (const block of batch) this.#pool.give(block);
  }
}

/** Calls `some`, which writes a part of what it is given and resolves with how many bytes, until all is written. */
export async function writeAll(
  some: (buffers: readonly Buffer[], position: number) => Promise<number>,
  buffers: readonly Buffer[],
  position: number,
): Promise<void> {
  let at = position;
  for (let left = buffers; left.length > 0; ) {
    const written = await some(left, at);
    at += written;
    left = behind(left, written);
  }
}
