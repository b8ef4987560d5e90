import { Fifo } from '../fifo.js';

/** What is shorter than this is copied together with what stands before it: a million single bytes are not a million buffers. */
const SMALL_BYTES = 4 * 1024;
const GATHERED_BYTES = 32 * 1024;

/** Bytes that wait, in order, in buffers of a fair size. */
export class ByteQueue {
  #chunks = new Fifo<Buffer>();
  /** The last chunk, when it was made here and has room: bytes are added to it. */
  #gathering: { readonly buffer: Buffer; end: number } | undefined;
  /** What is left of the first chunk. */
  #rest: Buffer | undefined;
  #length = 0;

  /** How many bytes wait. */
  get length(): number {
    return this.#length;
  }

  push(data: Buffer): void {
    this.#length += data.length;
    if (data.length >= SMALL_BYTES) {
      this.#close();
      this.#chunks.push(data);
      return;
    }
    if (this.#gathering && this.#gathering.end + data.length > this.#gathering.buffer.length) this.#close();
    this.#gathering ??= { buffer: Buffer.allocUnsafeSlow(GATHERED_BYTES), end: 0 };
    data.copy(this.#gathering.buffer, this.#gathering.end);
    this.#gathering.end += data.length;
  }

  /** The first bytes, at most `max` of them, in one piece as it lies there; undefined: there are none, or `max` is 0. */
  shift(max: number): Buffer | undefined {
    if (max <= 0 || this.#length === 0) return undefined;
    const first = this.#rest ?? this.#next();
    this.#rest = undefined;
    if (!first) return undefined;
    const taken = first.length > max ? first.subarray(0, max) : first;
    if (taken.length < first.length) this.#rest = first.subarray(max);
    this.#length -= taken.length;
    return taken;
  }

  clear(): void {
    this.#chunks = new Fifo();
    this.#gathering = undefined;
    this.#rest = undefined;
    this.#length = 0;
  }

  #next(): Buffer | undefined {
    if (this.#chunks.length === 0) this.#close();
    return this.#chunks.shift();
  }

  #close(): void {
    const gathering = this.#gathering;
    if (!gathering) return;
    this.#gathering = undefined;
    this.#chunks.push(gathering.buffer.subarray(0, gathering.end));
  }
}
