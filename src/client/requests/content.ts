import type { FedgateError } from '../../errors.js';
import { RecordEncoder, type RecordInit } from '../../wire/record-codec.js';
import { MAX_RECORD_BYTES } from '../../wire/records.js';
import { checkRecord, recordSize, tooLarge } from '../checks.js';
import type { Content } from './types.js';

/** One encoded record. Throws FIELD_INVALID, FRAME_TOO_LARGE. */
export function encodeContent(content: Content, extra: Pick<RecordInit, 'headers' | 'contentType'> = {}): Buffer {
  const init = typeof content === 'string' || content instanceof Uint8Array ? { payload: content } : content;
  const { headers, contentType } = extra;
  const record: RecordInit = headers || contentType ? { ...withoutUndefined({ headers, contentType }), ...init } : init;
  const problem: FedgateError | undefined = checkRecord(record);
  if (problem) throw problem;
  const size = recordSize(record);
  if (size > MAX_RECORD_BYTES) throw tooLarge(size);
  const encoder = new RecordEncoder(size + 64, 0);
  encoder.add(record, Date.now());
  const { bytes, start, end } = encoder.finish();
  if (end - start > MAX_RECORD_BYTES) throw tooLarge(end - start);
  return bytes.subarray(start, end);
}

const withoutUndefined = (extra: Partial<RecordInit>): Partial<RecordInit> =>
  Object.fromEntries(Object.entries(extra).filter(([, value]) => value !== undefined));
