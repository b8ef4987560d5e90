import type { IndexView } from './index-view.js';
import { PART_BYTES, type UploadRow } from './rows.js';

/** How many rows of digests an upload has besides its own. */
export const partsOf = ({ committedSize, pieceSize }: Pick<UploadRow, 'committedSize' | 'pieceSize'>): number =>
  Math.floor((Math.ceil(committedSize / pieceSize) * 32) / PART_BYTES);

/** The digests of all committed pieces in order. Undefined: a row of them is damaged. */
export async function digestsOf(view: IndexView, at: Buffer, row: UploadRow): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  for (let i = 0; i < partsOf(row); i++) {
    const part = await view.uploadPart(at, i);
    if (part?.length !== PART_BYTES) return undefined;
    parts.push(part);
  }
  const all = Buffer.concat([...parts, row.tail]);
  return all.length === Math.ceil(row.committedSize / row.pieceSize) * 32 ? all : undefined;
}

/** Writes one digest more behind those that are committed. */
export function addDigest(view: IndexView, at: Buffer, row: UploadRow, sha256: Buffer): Buffer {
  const tail = Buffer.concat([row.tail, sha256]);
  if (tail.length < PART_BYTES) return tail;
  view.putUploadPart(at, partsOf(row), tail);
  return Buffer.alloc(0);
}

/** Removes an upload, and what it refers to. Pieces whose digests are lost with a damaged row stay until references are counted again. */
export async function removeUpload(view: IndexView, at: Buffer, row: UploadRow): Promise<void> {
  const digests = await digestsOf(view, at, row);
  for (let i = 0; digests && i < digests.length; i += 32) await view.dropPiece(digests.subarray(i, i + 32));
  view.removeUpload(at, partsOf(row));
}
