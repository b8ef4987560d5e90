/** Writes the few fields that stand before the records of a frame. Grows as needed; made to be short-lived or reused by `reset`. */
export class FieldWriter {
  #bytes = Buffer.allocUnsafe(512);
  #length = 0;

  reset(): this {
    this.#length = 0;
    return this;
  }

  /** A varint field; left out when 0, as proto3 does. `value` is a whole number up to 2^53 - 1. */
  number(field: number, value: number): this {
    if (value === 0) return this;
    this.#reserve(20);
    this.#varint(field * 8);
    this.#varint(value);
    return this;
  }

  /** An ASCII string field; left out when empty. */
  text(field: number, value: string): this {
    if (value.length === 0) return this;
    this.#reserve(value.length + 20);
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    this.#length += this.#bytes.write(value, this.#length, 'latin1');
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#reserve(value.length + 20);
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** Tag and length of a length-delimited field whose content the caller writes elsewhere. */
  prefix(field: number, length: number): this {
    this.#reserve(20);
    this.#varint(field * 8 + 2);
    this.#varint(length);
    return this;
  }

  /** Bytes that are encoded already. */
  raw(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  get length(): number {
    return this.#length;
  }

  /** What was written, as a view that the next `reset` ends. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe((this.#length + more) * 2);
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#length++] = rest;
  }
}
