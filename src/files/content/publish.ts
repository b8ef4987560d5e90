import type { Change } from '../../store/store.js';
import { pieceCount, pieceDigest } from '../manifest.js';
import type { Manifest } from '../types.js';
import { Bitmap } from './bitmap.js';
import type { IndexView } from './index-view.js';
import { entryOf } from './ledger.js';
import { bytesOf } from './opened-contents.js';
import type { Parts } from './parts.js';
import type { ContentRow, UploadRow } from './rows.js';
import { partsOf } from './upload-digests.js';

interface UploadToPublish {
  readonly at: Buffer;
  readonly owner: string;
  readonly row: UploadRow | undefined;
  /** How many of the first pieces it refers to. The last one is new, or there is none. */
  readonly committedPieces: number;
}

interface NamedManifest {
  readonly id: Buffer;
  readonly manifest: Manifest;
}

/**
 * Makes a content of an upload, in one step of the index. What the upload refers to, the content refers to from then on; where an equal content
 * did so already, one reference is let go. Answers how many places refer to the last piece that did not before. The content is pinned.
 */
export async function publish(
  { ledger, opened, now }: Parts,
  view: IndexView,
  { at, owner, row, committedPieces }: UploadToPublish,
  { id, manifest }: NamedManifest,
  also: (change: Change, content: NamedManifest) => void,
): Promise<number> {
  const before = await view.content(id);
  const held = before?.manifest ? await view.held(id, manifest) : new Bitmap(pieceCount(manifest));
  for (let index = 0; index < committedPieces; index++) {
    if (held.has(index)) await view.dropPiece(pieceDigest(manifest, index));
    else held.set(index);
  }
  let added = 0;
  for (let index = committedPieces; index < pieceCount(manifest); index++) {
    if (!held.has(index)) added++;
    held.set(index);
  }
  if (row) view.removeUpload(at, partsOf(row));
  const owners = new Map(before?.owners);
  owners.set(owner, (owners.get(owner) ?? 0) + 1);
  const content: ContentRow = { manifest, verified: true, usedMs: now(), owners };
  view.putContent(id, content);
  view.putHeld(id, held);
  view.also(change => also(change, { id, manifest }));
  view.after(() => {
    opened.put({ id, manifest, held, verified: true, bad: false });
    ledger.setContent(id.toString('hex'), entryOf(content, bytesOf(manifest, held)));
    ledger.setUpload(at.toString('latin1'), undefined);
  });
  return added;
}
