import type { IndexView } from './index-view.js';
import { DIGEST_BYTES, PART_BYTES, type UploadRow } from './rows.js';

/** How many rows of digests an upload has besides its own. */
export const partsOf = ({ committedSize, pieceSize }: Pick<UploadRow, 'committedSize' | 'pieceSize'>): number =>
  Math.floor((Math.ceil(committedSize / pieceSize) * DIGEST_BYTES) / PART_BYTES);

/** The digests of all committed pieces in order. Undefined: a row of them is damaged. */
export async function digestsOf(view: IndexView, at: Buffer, row: UploadRow): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  for (let i = 0; i < partsOf(row); i++) {
    const part = await view.uploadPart(at, i);
    if (part?.length !== PART_BYTES) return undefined;
    parts.push(part);
  }
  const all = Buffer.concat([...parts, row.tail]);
  return all.length === Math.ceil(row.committedSize / row.pieceSize) * DIGEST_BYTES ? all : undefined;
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
  if (digests) await view.dropPieces(eachDigest(digests));
  view.removeUpload(at, partsOf(row));
}

/** Views of the digests in order. */
export function* eachDigest(digests: Buffer): Generator<Buffer> {
  for (let at = 0; at < digests.length; at += DIGEST_BYTES) yield digests.subarray(at, at + DIGEST_BYTES);
}
