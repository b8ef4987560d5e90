import { FedgateError, fieldError, quoted } from '../errors.js';
import type { RecordInit } from '../wire/record-codec.js';

/** What is refused before it is sent: a gateway that cannot read a frame ends the stream, and with it what others had published. */

const MAX_ID_BYTES = 128;
const MAX_KEY_BYTES = 256;
const MAX_HEADERS = 64;
const MAX_HEADER_BYTES = 8 * 1024;

/** The bounds of record.proto. No gateway looks into a record, so this is where they are kept. */
export function checkRecord({ id, key, headers, timeMs }: RecordInit): FedgateError | undefined {
  if (timeMs !== undefined && !isWhole(timeMs, Number.MAX_SAFE_INTEGER)) {
    return fieldError('timeMs', 'must be a whole number of milliseconds from 0');
  }
  if (id && Buffer.byteLength(id) > MAX_ID_BYTES) return fieldError('id', `is longer than ${MAX_ID_BYTES} bytes`);
  if (key && Buffer.byteLength(key) > MAX_KEY_BYTES) return fieldError('key', `is longer than ${MAX_KEY_BYTES} bytes`);
  return headers && checkHeaders(headers);
}

function checkHeaders(headers: Readonly<Record<string, string>>): FedgateError | undefined {
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) return fieldError('headers', `are more than ${MAX_HEADERS}`);
  const bytes = entries.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  return bytes > MAX_HEADER_BYTES
    ? fieldError('headers', `are longer than ${MAX_HEADER_BYTES} bytes in all`)
    : undefined;
}

/** What cannot be put into a frame at all; the gateway judges the rest. */
export function checkAddress(address: string): FedgateError | undefined {
  if (address.length > 512) return fieldError('address', 'is longer than 512 bytes');
  // Written as one byte per character: another character would become a different address.
  if (!/^[\x21-\x7e]*$/.test(address))
    return fieldError('address', `${quoted(address)} has characters that no address has`);
  return undefined;
}

const isWhole = (value: number, most: number): boolean => Number.isInteger(value) && value >= 0 && value <= most;

const bytesOf = (value: Uint8Array | string): number =>
  typeof value === 'string' ? Buffer.byteLength(value) : value.length;

/** All that a record holds, so that one that is too large is refused here and not by the gateway, which would end the stream. */
export function recordSize({ payload, id, key, contentType, headers }: RecordInit): number {
  let size = bytesOf(payload);
  if (id) size += bytesOf(id);
  if (key) size += bytesOf(key);
  if (contentType) size += bytesOf(contentType);
  if (headers) for (const [name, value] of Object.entries(headers)) size += bytesOf(name) + bytesOf(value) + 16;
  return size;
}

export const tooLarge = (size: number): FedgateError =>
  new FedgateError('FRAME_TOO_LARGE', `a record of ${size} bytes is over the limit of 1 MiB`, {
    metadata: { limit: 'record' },
  });
