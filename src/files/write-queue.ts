import { behind } from './buffers.js';

/** What is written at once at least, unless it is the end: calls to the disk cost more than the bytes. */
export const BATCH_BYTES = 512 * 1024;
/** What one file may have waiting for the disk: as long as it is less, nobody waits for a disk that is slow for a moment. */
export const WAITING_BYTES = 4 * 1024 * 1024;
/** The same of all files that share a room. Above it each has a batch only, or the chunk that is larger. */
export const WAITING_BYTES_TOGETHER = 12 * 1024 * 1024;

/** What many queues have waiting together. */
export class WriteRoom {
  bytes = 0;

  get full(): boolean {
    return this.bytes >= WAITING_BYTES_TOGETHER;
  }
}

/** Writes all of the buffers from a place on, or rejects. They stay as they are until it resolves. */
export type WriteBuffers = (buffers: readonly Buffer[], position: number) => Promise<void>;

/**
 * Bytes on their way to one file, in order, one write at a time: what comes while the disk is at work goes with the next write. A write
 * that failed fails all that follow.
 */
export class WriteQueue {
  readonly #write: WriteBuffers;
  readonly #room: WriteRoom;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #writingBytes = 0;
  /** Where the first waiting byte belongs. */
  #position = 0;
  #writing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(write: WriteBuffers, room: WriteRoom = new WriteRoom()) {
    this.#write = write;
    this.#room = room;
  }

  /** Where the next byte belongs if it is to go with those before it. */
  get next(): number {
    return this.#position + this.#waitingBytes;
  }

  /** Takes bytes behind those before them. They are kept until they are on the disk, and may not change. */
  push(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#room.bytes += bytes.length;
    if (this.#waitingBytes >= BATCH_BYTES) this.#begin();
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
    this.#room.bytes -= this.#waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  get #tooMuch(): boolean {
    const bytes = this.#waitingBytes + this.#writingBytes;
    return bytes >= WAITING_BYTES || (this.#waitingBytes >= BATCH_BYTES && this.#room.full);
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }

  #begin(): void {
    if (this.#writing !== undefined || this.#failure || this.#waitingBytes === 0) return;
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
        this.#room.bytes -= bytes;
        if (this.#waitingBytes >= BATCH_BYTES) this.#begin();
      });
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
