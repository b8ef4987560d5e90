/** Which places of a content are taken: one bit each, the first in the lowest bit of the first byte. */
export class Bitmap {
  readonly bytes: Buffer;
  readonly size: number;

  /** `bytes` are copied; what is missing of them is zero, what is beyond is left out. */
  constructor(size: number, bytes: Uint8Array = new Uint8Array()) {
    this.size = size;
    this.bytes = Buffer.alloc(Math.ceil(size / 8));
    this.bytes.set(bytes.subarray(0, this.bytes.length));
  }

  static full(size: number): Bitmap {
    const bitmap = new Bitmap(size);
    for (let i = 0; i < size; i++) bitmap.set(i);
    return bitmap;
  }

  has(index: number): boolean {
    return ((this.bytes[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  set(index: number): void {
    this.bytes[index >> 3] = (this.bytes[index >> 3] ?? 0) | (1 << (index & 7));
  }

  clear(): void {
    this.bytes.fill(0);
  }

  /** The places that are taken, in order. */
  *[Symbol.iterator](): Iterator<number> {
    for (let i = 0; i < this.size; i++) if (this.has(i)) yield i;
  }
}
