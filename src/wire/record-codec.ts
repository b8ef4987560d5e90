import { FieldReader, LENGTH_DELIMITED } from './reader.js';
import { RECORDS_FIELD, type RecordBlock } from './records.js';
import { FieldWriter } from './writer.js';

/** How the ends encode and decode records. Field numbers are those of record.proto. Written by hand: this is most of a client's work. */

/** A record to be published. */
export interface RecordInit {
  readonly payload: Uint8Array | string;
  readonly id?: string | undefined;
  readonly key?: Uint8Array | string | undefined;
  readonly contentType?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Epoch milliseconds. @default now */
  readonly timeMs?: number | undefined;
}

const RECORD_TAG = RECORDS_FIELD * 8 + 2;
const TAG = { id: 10, key: 18, time: 24, contentType: 34, headers: 42, payload: 50 } as const;

/** Appends encoded records, as entries of field 15, to a buffer that grows. */
export class RecordEncoder {
  #bytes: Buffer;
  #start: number;
  #position: number;
  count = 0;
  /** The time of the record before, encoded: mostly that of the next one too. */
  #timeMs = -1;
  #timeBytes: Buffer = Buffer.alloc(0);

  /** `headroom` bytes stay free before the first record, for what the caller writes there once it knows it. */
  constructor(capacity: number, headroom: number) {
    this.#bytes = Buffer.allocUnsafe(capacity + headroom);
    this.#start = headroom;
    this.#position = headroom;
  }

  /** Bytes of records so far. */
  get length(): number {
    return this.#position - this.#start;
  }

  add(record: RecordInit, nowMs: number): void {
    const { payload, id, key, contentType, headers } = record;
    const timeMs = record.timeMs ?? nowMs;
    const payloadLength = byteLength(payload);
    const extra =
      (id ? 4 + id.length * 3 : 0) + (key ? 4 + byteLength(key) : 0) + (contentType ? 4 + contentType.length * 3 : 0);
    const headerBytes = headers ? headersLength(headers) : 0;
    this.#reserve(payloadLength + extra + headerBytes + 40);
    if (timeMs !== this.#timeMs) this.#encodeTime(timeMs);
    const entry = this.#position;
    this.#bytes[this.#position++] = RECORD_TAG;
    if (!id && !key && !contentType && !headers) {
      const field = payloadLength > 0 ? 1 + varintLength(payloadLength) + payloadLength : 0;
      this.#varint(this.#timeBytes.length + field);
      this.#body(record, payload, payloadLength);
    } else {
      // The record's own length stands before it: room for five bytes is left, and the record moved when fewer were needed.
      this.#position += 5;
      const body = this.#position;
      this.#body(record, payload, payloadLength);
      this.#closeLength(entry + 1, body);
    }
    this.count++;
  }

  #body({ id, key, contentType, headers }: RecordInit, payload: Uint8Array | string, payloadLength: number): void {
    if (id) this.#field(TAG.id, id, Buffer.byteLength(id));
    if (key) this.#field(TAG.key, key, byteLength(key));
    for (let i = 0; i < this.#timeBytes.length; i++) this.#bytes[this.#position++] = this.#timeBytes[i] as number;
    if (contentType) this.#field(TAG.contentType, contentType, Buffer.byteLength(contentType));
    if (headers) this.#headers(headers);
    if (payloadLength > 0) this.#field(TAG.payload, payload, payloadLength);
  }

  #encodeTime(timeMs: number): void {
    this.#timeMs = timeMs;
    this.#timeBytes = Buffer.from(new FieldWriter().number(TAG.time / 8, timeMs).view());
  }

  /** The records, with room for `headroom` bytes before them. */
  finish(): { readonly bytes: Buffer; readonly start: number; readonly end: number } {
    return { bytes: this.#bytes, start: this.#start, end: this.#position };
  }

  #headers(headers: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(headers)) {
      const nameLength = Buffer.byteLength(name);
      const valueLength = Buffer.byteLength(value);
      this.#bytes[this.#position++] = TAG.headers;
      this.#varint(2 + varintLength(nameLength) + nameLength + varintLength(valueLength) + valueLength);
      this.#field(10, name, nameLength);
      this.#field(18, value, valueLength);
    }
  }

  #field(tag: number, value: Uint8Array | string, length: number): void {
    this.#bytes[this.#position++] = tag;
    this.#varint(length);
    if (typeof value === 'string') this.#bytes.write(value, this.#position, 'utf8');
    else this.#bytes.set(value, this.#position);
    this.#position += length;
  }

  #closeLength(at: number, body: number): void {
    const length = this.#position - body;
    const end = this.#position;
    this.#position = at;
    this.#varint(length);
    this.#bytes.copyWithin(this.#position, body, end);
    this.#position += length;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#position++] = (rest % 128) | 0x80;
      rest = rest < 0x80000000 ? rest >>> 7 : Math.floor(rest / 128);
    }
    this.#bytes[this.#position++] = rest;
  }

  #reserve(more: number): void {
    if (this.#position + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe((this.#position + more) * 2);
    this.#bytes.copy(larger, 0, 0, this.#position);
    this.#bytes = larger;
  }
}

const byteLength = (value: Uint8Array | string): number =>
  typeof value === 'string' ? Buffer.byteLength(value) : value.length;

const headersLength = (headers: Readonly<Record<string, string>>): number =>
  Object.entries(headers).reduce((sum, [name, value]) => sum + 12 + (name.length + value.length) * 3, 0);

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** A record that was received. Fields are decoded when they are read; byte fields are views. */
export class ReceivedRecord {
  readonly #bytes: Buffer;
  readonly #start: number;
  readonly #end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  get id(): string {
    return this.#text(1);
  }

  get key(): Buffer {
    return this.#content(2);
  }

  /** Epoch milliseconds by the publisher's clock; 0: not given. */
  get timeMs(): number {
    const reader = new FieldReader(this.#bytes, this.#start, this.#end, true);
    let value = 0;
    while (reader.next()) if (reader.field === 3) value = reader.value;
    return value;
  }

  get contentType(): string {
    return this.#text(4);
  }

  get headers(): ReadonlyMap<string, string> {
    const headers = new Map<string, string>();
    const reader = new FieldReader(this.#bytes, this.#start, this.#end, true);
    while (reader.next()) {
      if (reader.field !== 5) continue;
      const entry = new FieldReader(this.#bytes, reader.start, reader.end, true);
      let name = '';
      let value = '';
      while (entry.next()) {
        if (entry.field === 1) name = entry.text();
        else if (entry.field === 2) value = entry.text();
      }
      headers.set(name, value);
    }
    return headers;
  }

  /** A view on the frame it came in: copy it to keep it for long. */
  get payload(): Buffer {
    return this.#content(6);
  }

  /** The payload as UTF-8 text. */
  get text(): string {
    return this.payload.toString('utf8');
  }

  #text(field: number): string {
    return this.#content(field).toString('utf8');
  }

  /** The last one counts, as protobuf says. */
  #content(field: number): Buffer {
    const reader = new FieldReader(this.#bytes, this.#start, this.#end, true);
    let start = 0;
    let end = 0;
    while (reader.next()) {
      if (reader.field === field && reader.wireType === LENGTH_DELIMITED) {
        start = reader.start;
        end = reader.end;
      }
    }
    return end > start ? this.#bytes.subarray(start, end) : EMPTY;
  }
}

/** The records of a block, as views. Throws FRAME_MALFORMED. */
export function readRecords({ bytes }: RecordBlock): ReceivedRecord[] {
  const records: ReceivedRecord[] = [];
  const reader = new FieldReader(bytes);
  while (reader.next()) records.push(new ReceivedRecord(bytes, reader.start, reader.end));
  return records;
}

const EMPTY = Buffer.alloc(0);
