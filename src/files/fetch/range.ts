import { FedgateError } from '../../errors.js';
import { pieceLength } from '../manifest.js';
import type { Manifest } from '../types.js';

/** Bytes of a content, from the first to the one behind the last. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** `length` 0: to the end. Throws OFFSET_INVALID when it does not lie within the content. */
export function rangeOf(offset: number, length: number, size: number): ByteRange {
  const to = length === 0 ? size : offset + length;
  if (offset <= size && to <= size) return { from: offset, to };
  const wanted = length === 0 ? `bytes from ${offset} on` : `bytes ${offset} to ${to}`;
  throw new FedgateError('OFFSET_INVALID', `${wanted} are asked for, and there are ${size}`, {
    metadata: { size: String(size) },
  });
}

/** The pieces that a range touches, from the first to the one behind the last. */
export function piecesOf({ from, to }: ByteRange, { pieceSize }: Manifest): ByteRange {
  if (from === to) return { from: 0, to: 0 };
  return { from: Math.floor(from / pieceSize), to: Math.ceil(to / pieceSize) };
}

/** The bytes of a range, piece by piece, from whatever reads pieces. Nothing is read ahead. */
export async function* readRange(
  range: ByteRange,
  manifest: Manifest,
  readPiece: (index: number, offset: number) => AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const pieces = piecesOf(range, manifest);
  let at = range.from;
  for (let index = pieces.from; index < pieces.to; index++) {
    const length = pieceLength(manifest, index);
    let offset = at - index * manifest.pieceSize;
    for await (const chunk of readPiece(index, offset)) {
      const wanted = chunk.subarray(0, range.to - at);
      at += wanted.length;
      offset += wanted.length;
      if (wanted.length > 0) yield wanted;
      // At the end of the piece its reader has something to say: whether it was right.
      if (at === range.to && offset < length) return;
    }
    if (offset < length) throw new FedgateError('FILE_DAMAGED', `piece ${index} is shorter than it should be`);
  }
}
