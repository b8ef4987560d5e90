import { PublishRequest } from '../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Record as MessageRecord } from '../gen/ts/fedgate/messaging/v1/record.js';

/** The size that publishers fill a frame to, bytes. */
export const FRAME_BYTES = 64 * 1024;

/** Field 15, length-delimited: how every message of the contract carries its records. */
const RECORDS_TAG = 0x7a;

export interface Frame {
  readonly bytes: Buffer;
  readonly records: number;
}

/** As many records of one payload size as fit into a frame, at least one, encoded as `repeated Record records = 15`. */
export function makeFrame(payloadBytes: number): Frame {
  const record = MessageRecord.encode(MessageRecord.fromPartial({ payload: Buffer.alloc(payloadBytes, 'x') })).finish();
  const field = Buffer.concat([Buffer.of(RECORDS_TAG), varint(record.length), record]);
  const records = Math.max(1, Math.floor(FRAME_BYTES / field.length));
  return { bytes: Buffer.concat(Array.from({ length: records }, () => field)), records };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** The same frame made anew from objects by the generated code, as a program without an SDK makes it. */
export function encodeFrame(payload: Uint8Array, count: number): Buffer {
  const records: MessageRecord[] = [];
  for (let i = 0; i < count; i++) {
    records.push({ id: '', key: NOTHING, timeMs: 0n, contentType: '', headers: NO_HEADERS, payload });
  }
  return Buffer.from(PublishRequest.encode({ ...EMPTY, records }).finish());
}

/** How many records with a payload a frame holds, found out by decoding all of them with the generated code. */
export function decodeFrame(frame: Buffer): number {
  let records = 0;
  for (const { payload } of PublishRequest.decode(frame).records) if (payload.length > 0) records++;
  return records;
}

const EMPTY = PublishRequest.fromPartial({});
const NOTHING = new Uint8Array(0);
const NO_HEADERS = new Map<string, string>();
