import type { Readable } from 'node:stream';
import type { RecordInit } from '../client/index.js';
import { FedgateError } from '../errors.js';
import { MAX_RECORD_BYTES } from '../wire/records.js';

/** The header of a record whose payload is not a line: `fedgate sub --raw` then adds no line end. */
export const LINE_END_HEADER = 'line-end';
export const NO_LINE_END = { [LINE_END_HEADER]: 'none' } as const;

const NEWLINE = 0x0a;

/**
 * One record per line, without its line feed. A last line without one is marked, so that the other end can write the very same bytes.
 * Throws FRAME_TOO_LARGE naming the line.
 */
export async function* readLines(
  input: Readable,
  contentType: string | undefined,
  skip: number,
): AsyncGenerator<RecordInit> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  for await (const chunk of input as AsyncIterable<Buffer | string>) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      const line = rest.length > 0 ? Buffer.concat([rest, bytes.subarray(start, end)]) : bytes.subarray(start, end);
      if (rest.length > 0) rest = Buffer.alloc(0);
      start = end + 1;
      if (++number > skip) yield { payload: checked(line, number), contentType };
    }
    if (start < bytes.length) rest = checked(Buffer.concat([rest, bytes.subarray(start)]), number + 1);
  }
  if (rest.length > 0 && ++number > skip) yield { payload: rest, contentType, headers: NO_LINE_END };
}

function checked(line: Buffer, number: number): Buffer {
  if (line.length <= MAX_RECORD_BYTES - 16 * 1024) return line;
  throw new FedgateError('FRAME_TOO_LARGE', `line ${number} has more than ${MAX_RECORD_BYTES - 16 * 1024} bytes`, {
    metadata: { limit: 'record' },
  });
}
