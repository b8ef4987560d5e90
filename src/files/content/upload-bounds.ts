import { FedgateError } from '../../errors.js';
import { MAX_PIECES } from '../manifest.js';

export interface UploadProgress {
  /** What was declared; undefined: nothing. */
  readonly size: number | undefined;
  readonly pieceSize: number;
  readonly committedSize: number;
  /** Where the next chunk begins. */
  readonly received: number;
}

/** Throws OFFSET_INVALID for a chunk that does not follow, or goes beyond what was declared; LIMIT_REACHED for more than a manifest can name. */
export function demandFits(progress: UploadProgress, offset: number, length: number): void {
  const { size, pieceSize, received } = progress;
  if (offset !== received) throw offsetInvalid(progress, `a chunk at ${offset} where ${received} comes next`);
  const end = offset + length;
  if (size !== undefined && end > size) {
    throw offsetInvalid(progress, `a chunk that ends at ${end}, beyond the ${size} bytes that were declared`);
  }
  const limit = pieceSize * MAX_PIECES;
  if (end <= limit) return;
  const message = `more than ${limit} bytes, the most for a file whose size was not declared`;
  throw new FedgateError('LIMIT_REACHED', message, { metadata: { limit: String(limit) } });
}

/** Throws OFFSET_INVALID unless all that was declared has come. */
export function demandWhole(progress: UploadProgress): void {
  const { size, received } = progress;
  if (size === undefined || received === size) return;
  throw offsetInvalid(progress, `${received} bytes came of ${size} that were declared`);
}

function offsetInvalid({ size, committedSize }: UploadProgress, what: string): FedgateError {
  const metadata = { committedSize: String(committedSize), ...(size !== undefined && { size: String(size) }) };
  return new FedgateError('OFFSET_INVALID', what, { metadata });
}
