import { FedgateError } from '../errors.js';

/** Protobuf wire types in use (https://protobuf.dev/programming-guides/encoding/). */
export const VARINT = 0;
export const LENGTH_DELIMITED = 2;

const FIXED64 = 1;
const FIXED32 = 5;

/** A negative int64 is a varint of ten bytes. */
const asInt64 = (bytes: Uint8Array): number => {
  let value = 0n;
  for (const [i, byte] of bytes.entries()) value |= BigInt(byte & 0x7f) << BigInt(7 * i);
  return Number(BigInt.asIntN(64, value));
};

/** A frame while it is read: all its fields are there from the start, and are written as they come. */
export type Filling<Frame> = { -readonly [field in keyof Frame]: Frame[field] };

export const malformed = (what: string): FedgateError =>
  new FedgateError('FRAME_MALFORMED', `the frame is not readable: ${what}`);

/**
 * Walks over the fields of one encoded message without decoding what is in them.
 *
 * Made for the frames of the hot path, whose senders must mean every byte they send: unlike a general decoder it throws
 * FRAME_MALFORMED at field 0, at groups and at fixed-width fields, none of which our frames have.
 */
export class FieldReader {
  readonly bytes: Buffer;
  readonly #lenient: boolean;
  readonly #end: number;
  #position: number;
  field = 0;
  wireType = 0;
  /** The value of a varint field. At most 2^53 - 1. */
  value = 0;
  /** Where the tag of the field begins. */
  tagStart = 0;
  /** Where the content of a length-delimited field begins and ends. */
  start = 0;
  end = 0;

  /** `lenient`: steps over fixed-width fields, and takes a varint as an int64. For what strangers wrote and may extend: records. */
  constructor(bytes: Buffer, start = 0, end = bytes.length, lenient = false) {
    this.bytes = bytes;
    this.#lenient = lenient;
    this.#position = start;
    this.#end = end;
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#position >= this.#end) return false;
    this.tagStart = this.#position;
    const tag = this.#varint();
    this.field = tag < 0x80 ? tag >> 3 : Math.floor(tag / 8);
    this.wireType = tag & 7;
    if (this.field === 0) throw malformed('it has a field number 0');
    if (this.wireType === VARINT) {
      this.value = this.#varint();
    } else if (this.wireType === LENGTH_DELIMITED) {
      this.#content(this.#varint());
    } else if (this.#lenient && (this.wireType === FIXED32 || this.wireType === FIXED64)) {
      this.#content(this.wireType === FIXED32 ? 4 : 8);
    } else {
      throw malformed(`field ${this.field} has wire type ${this.wireType}`);
    }
    return true;
  }

  /** The content of a length-delimited field, as a view. */
  content(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }

  /** The content of a string field. Invalid UTF-8 becomes U+FFFD, which no grammar of ours accepts. */
  text(): string {
    return this.bytes.toString('utf8', this.start, this.end);
  }

  #content(length: number): void {
    this.start = this.#position;
    this.end = this.start + length;
    if (!(this.end <= this.#end)) throw malformed('it ends in the middle of a field');
    this.#position = this.end;
  }

  /** Tags take one byte and most lengths one or two, so those come first. */
  #varint(): number {
    const { bytes } = this;
    const begin = this.#position;
    if (begin + 1 < this.#end) {
      const low = bytes[begin] as number;
      if (low < 0x80) {
        this.#position = begin + 1;
        return low;
      }
      const high = bytes[begin + 1] as number;
      if (high < 0x80) {
        this.#position = begin + 2;
        return (low & 0x7f) + high * 128;
      }
    }
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.#position < this.#end ? (bytes[this.#position++] ?? 0) : -1;
      if (byte < 0) throw malformed('it ends in the middle of a number');
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) {
          if (!this.#lenient) throw malformed('it holds a number over 2^53');
          return asInt64(bytes.subarray(begin, this.#position));
        }
        return value;
      }
      factor *= 128;
    }
    throw malformed('it holds a number of more than ten bytes');
  }
}
