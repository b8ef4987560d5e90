import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  decodeContentRow,
  decodeHeldRow,
  decodePieceRow,
  decodeUploadRow,
  TABLE,
} from '../../../src/files/content/rows.js';
import { pieceDigest } from '../../../src/files/manifest.js';
import { key } from '../../../src/store/keys.js';
import type { Row, Store } from '../../../src/store/store.js';

const rowsOf = (store: Store, table: string): Promise<Row[]> => store.scan(table, { limit: 100_000 });

/**
 * What is wrong with an index that is at rest, worked out from its rows alone: each piece must have as many references as there are places, and
 * a file exactly when it has a row. Undefined: nothing.
 */
export async function complaint(folder: string, store: Store): Promise<string | undefined> {
  const counts = new Map<string, number>();
  const count = (digest: Uint8Array): void => {
    const name = Buffer.from(digest).toString('hex');
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  for (const { key: id, value } of await rowsOf(store, TABLE.content)) {
    const { manifest } = decodeContentRow(value);
    const held = await store.get(TABLE.held, id);
    if (!manifest) {
      if (held) return `a bad content holds pieces: ${id.toString('hex')}`;
      continue;
    }
    const bits = held ? decodeHeldRow(held) : Buffer.alloc(0);
    for (let i = 0; i < manifest.pieces.length / 32; i++) {
      if (((bits[i >> 3] ?? 0) >> (i & 7)) & 1) count(pieceDigest(manifest, i));
    }
  }
  let parts = 0;
  for (const { key: at, value } of await rowsOf(store, TABLE.upload)) {
    const { committedSize, pieceSize, tail } = decodeUploadRow(value);
    const full = Math.floor(committedSize / pieceSize / 128);
    const digests = [];
    for (let i = 0; i < full; i++, parts++) digests.push(await store.get(TABLE.uploadPart, key(at, i)));
    const all = Buffer.concat([...digests.map(part => part ?? Buffer.alloc(0)), tail]);
    if (all.length !== (committedSize / pieceSize) * 32)
      return `an upload of ${committedSize} bytes has ${all.length} of digests`;
    for (let i = 0; i < all.length; i += 32) count(all.subarray(i, i + 32));
  }
  if ((await rowsOf(store, TABLE.uploadPart)).length !== parts) return 'rows of digests belong to no upload';
  const files = new Map<string, number>();
  for (const entry of await readdir(join(folder, 'files', 'pieces'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files.set(entry.name, (await stat(join(entry.parentPath, entry.name))).size);
  }
  for (const { key: digest, value } of await rowsOf(store, TABLE.piece)) {
    const name = digest.toString('hex');
    const { length, references } = decodePieceRow(value);
    if (references !== (counts.get(name) ?? 0))
      return `piece ${name} has ${references} references, not ${counts.get(name)}`;
    if ((files.get(name) ?? 0) !== length) return `piece ${name} has ${files.get(name)} bytes, not ${length}`;
    counts.delete(name);
    files.delete(name);
  }
  if (counts.size > 0) return `pieces without rows: ${[...counts.keys()].join()}`;
  if (files.size > 0) return `files without rows: ${[...files.keys()].join()}`;
  return undefined;
}
