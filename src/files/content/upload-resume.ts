import { createHash, type Hash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import { readPiece } from './piece-reader.js';
import type { Pieces } from './pieces.js';
import type { UploadRow } from './rows.js';

/** Reads what is committed of an upload again, verifies it, and answers the whole-file digest so far. Throws FILE_DAMAGED. */
export async function wholeOf(
  pieces: Pieces,
  { committedSize, pieceSize }: UploadRow,
  digests: Buffer | undefined,
  signal: AbortSignal,
): Promise<Hash> {
  if (!digests) throw new FedgateError('FILE_DAMAGED', 'what was committed of the upload is not known any more');
  const whole = createHash('sha256');
  for (let at = 0; at < committedSize; at += pieceSize) {
    const index = at / pieceSize;
    const sha256 = digests.subarray(index * 32, (index + 1) * 32);
    const piece = { sha256, length: Math.min(pieceSize, committedSize - at), offset: 0 };
    for await (const chunk of readPiece(pieces, piece, signal)) whole.update(chunk);
  }
  return whole;
}
