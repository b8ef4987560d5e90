import { ConsumeRequest, type Nack, type OffsetRange } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { MAX_CREDIT, type NackTerms } from '../durable/subscriptions/consumer.js';
import { normalised, type Range } from '../durable/subscriptions/ranges.js';
import { MAX_ACK_WAIT_MS } from '../durable/subscriptions/spec.js';
import { fieldError } from '../errors.js';
import { malformed } from '../wire/reader.js';
import { tooLarge } from '../wire/records.js';

/** Ranges of one frame: as many as a consumer can have pieces out. */
export const MAX_RANGES = 10_000;
/** A frame with as many ranges of the largest numbers, and some. */
export const MAX_CONSUME_FRAME_BYTES = 512 * 1024;
const MAX_REASON_BYTES = 500;
const MAX_OFFSET = BigInt(Number.MAX_SAFE_INTEGER);

export const NO_NACK: NackTerms = { delayMs: 0, reason: '', deadLetter: false, ackId: 0n };

/** Throws FRAME_MALFORMED, FRAME_TOO_LARGE. */
export function readConsumeRequest(bytes: Buffer): NonNullable<ConsumeRequest['frame']> {
  if (bytes.length > MAX_CONSUME_FRAME_BYTES)
    throw tooLarge(`the frame has more than ${MAX_CONSUME_FRAME_BYTES} bytes`);
  let frame: ConsumeRequest['frame'];
  try {
    frame = ConsumeRequest.decode(bytes).frame;
  } catch {
    throw malformed('a ConsumeRequest');
  }
  if (!frame) throw malformed('it is empty, or of a kind that is not known');
  return frame;
}

/** Throws FIELD_INVALID. */
export function toRanges(ranges: readonly OffsetRange[], field: string): readonly Range[] {
  if (ranges.length > MAX_RANGES) throw fieldError(field, `has more than ${MAX_RANGES} ranges`);
  return normalised(
    ranges.map(({ first, last }, i) => {
      if (first > last) throw fieldError(`${field}[${i}]`, 'ends before it begins');
      if (last > MAX_OFFSET) throw fieldError(`${field}[${i}].last`, 'is over 2^53');
      return { first: Number(first), last: Number(last) };
    }),
  );
}

/** Throws FIELD_INVALID. */
export function nackTerms({ delayMs, reason, deadLetter, ackId }: Nack, path: string): NackTerms {
  if (delayMs > MAX_ACK_WAIT_MS) throw fieldError(`${path}.delay_ms`, `is over ${MAX_ACK_WAIT_MS}`);
  if (Buffer.byteLength(reason) > MAX_REASON_BYTES)
    throw fieldError(`${path}.reason`, `is longer than ${MAX_REASON_BYTES} bytes`);
  return { delayMs, reason, deadLetter, ackId };
}

/** Throws FIELD_INVALID. */
export function toCredit(records: number): number {
  if (records === 0) throw fieldError('credit.records', 'is 0');
  return Math.min(records, MAX_CREDIT);
}
