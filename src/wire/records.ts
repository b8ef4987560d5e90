import { FedgateError } from '../errors.js';
import { FieldReader, LENGTH_DELIMITED, malformed } from './reader.js';

/**
 * Encoded records, opaque.
 *
 * `repeated Record records = 15` and `repeated bytes records = 15` have the same bytes, and every message that carries records does so
 * in field 15. So the records of a publisher's frame, tags and lengths included, are cut out once, and stand unchanged in the batch
 * between the gateways and in the frame of every subscriber. No gateway decodes a record.
 */
export interface RecordBlock {
  /** The entries of field 15, one after the other, tags and lengths included. */
  readonly bytes: Buffer;
  readonly count: number;
}

export const EMPTY_BLOCK: RecordBlock = { bytes: Buffer.alloc(0), count: 0 };

export const RECORDS_FIELD = 15;
export const MAX_RECORD_BYTES = 1024 * 1024;
export const MAX_FRAME_BYTES = 2 * 1024 * 1024;
export const MAX_FRAME_RECORDS = 65_536;

/** Collects the records of one frame while its fields are walked over. They normally stand together at the end: one view, no copy. */
export class RecordCollector {
  #runs: Buffer[] = [];
  #runStart = -1;
  #runEnd = -1;
  #count = 0;
  #bytes: Buffer | undefined;

  /** Takes the field the reader stands on. */
  take(reader: FieldReader): void {
    if (reader.wireType !== LENGTH_DELIMITED) throw malformed('a record is not a message');
    if (reader.end - reader.start > MAX_RECORD_BYTES)
      throw tooLarge(`a record has more than ${MAX_RECORD_BYTES} bytes`);
    if (++this.#count > MAX_FRAME_RECORDS) throw tooLarge(`the frame has more than ${MAX_FRAME_RECORDS} records`);
    if (reader.tagStart !== this.#runEnd) {
      this.#endRun();
      this.#runStart = reader.tagStart;
    }
    this.#runEnd = reader.end;
    this.#bytes = reader.bytes;
  }

  get empty(): boolean {
    return this.#count === 0;
  }

  /** Throws FIELD_INVALID when there are none. */
  finish(): RecordBlock {
    if (this.#count === 0) {
      throw new FedgateError('FIELD_INVALID', 'records: at least one is needed', {
        fields: [{ field: 'records', description: 'at least one is needed' }],
      });
    }
    this.#endRun();
    const [only] = this.#runs;
    return { bytes: this.#runs.length === 1 && only ? only : Buffer.concat(this.#runs), count: this.#count };
  }

  #endRun(): void {
    if (this.#bytes && this.#runStart >= 0) this.#runs.push(this.#bytes.subarray(this.#runStart, this.#runEnd));
  }
}

export const joinBlocks = (blocks: readonly RecordBlock[]): RecordBlock => {
  const [only] = blocks;
  if (blocks.length === 1 && only) return only;
  return {
    bytes: Buffer.concat(blocks.map(block => block.bytes)),
    count: blocks.reduce((sum, block) => sum + block.count, 0),
  };
};

export const tooLarge = (what: string): FedgateError =>
  new FedgateError('FRAME_TOO_LARGE', what, { metadata: { limit: 'frame' } });

/** The records `from` to before `to` of a block, as a view. */
export function sliceBlock(block: RecordBlock, from: number, to: number): RecordBlock {
  if (from === 0 && to === block.count) return block;
  const reader = new FieldReader(block.bytes);
  let start = block.bytes.length;
  let end = start;
  for (let i = 0; i < to && reader.next(); i++) {
    if (i === from) start = reader.tagStart;
    end = reader.end;
  }
  return { bytes: block.bytes.subarray(start, end), count: to - from };
}

/** Encoded records whose number is not known yet. Throws FRAME_MALFORMED, FRAME_TOO_LARGE, FIELD_INVALID. */
export function blockOf(bytes: Buffer): RecordBlock {
  const reader = new FieldReader(bytes);
  const records = new RecordCollector();
  while (reader.next()) {
    if (reader.field !== RECORDS_FIELD) throw malformed(`field ${reader.field} is not known`);
    records.take(reader);
  }
  return records.finish();
}
