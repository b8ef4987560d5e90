import type { Store } from '../../store/store.js';
import { pieceDigest, pieceLength } from '../manifest.js';
import type { IndexView } from './index-view.js';
import { eachRow } from './load.js';
import type { Parts } from './parts.js';
import {
  type ContentRow,
  decodeContentRow,
  decodePieceRow,
  decodeUploadRow,
  type PieceRow,
  TABLE,
  type UploadRow,
} from './rows.js';
import { digestsOf, eachDigest, partsOf } from './upload-digests.js';

/** Pieces are counted in so many parts, by their first bits: bounds what is in memory. */
const SHARDS = 16;

interface Counted {
  readonly sha256: Buffer;
  references: number;
  length: number;
}

/**
 * Counts anew how many places refer to each piece, after rows were found damaged: what those said is lost, and what they referred to would
 * stay for ever. Damaged rows that say nothing any more are removed. Each part is one step of the index, so that nothing changes meanwhile.
 */
export async function recount(parts: Pick<Parts, 'pieces' | 'ledger' | 'opened' | 'now'>, store: Store): Promise<void> {
  const { pieces } = parts;
  for (let shard = 0; shard < SHARDS; shard++) {
    // What is committed is read, so nothing may be waiting for its commit in front of this step.
    await pieces.index.alone(async view => {
      const counts = await countPlaces(parts, store, view, shard);
      await correctRows(store, view, counts, shard);
    });
  }
}

/** They were told of when they were found. */
const silent = (): void => undefined;

const shardOf = (sha256: Buffer): number => (sha256[0] ?? 0) >> 4;

async function countPlaces(
  parts: Pick<Parts, 'ledger' | 'opened' | 'now'>,
  store: Store,
  view: IndexView,
  shard: number,
): Promise<Map<string, Counted>> {
  const counts = new Map<string, Counted>();
  const count = (sha256: Buffer, length: number): void => {
    if (shardOf(sha256) !== shard) return;
    const name = sha256.toString('hex');
    const counted = counts.get(name) ?? { sha256: Buffer.from(sha256), references: 0, length };
    counted.references++;
    counts.set(name, counted);
  };
  const countContent = async (id: Buffer, row: ContentRow | undefined): Promise<void> => {
    const known = row ?? mended(parts, view, id);
    if (!known) view.removeContent(id);
    if (!known?.manifest) return;
    const held = await view.held(id, known.manifest);
    let places = 0;
    for (const index of held) {
      places++;
      count(pieceDigest(known.manifest, index), pieceLength(known.manifest, index));
    }
    // A damaged row looks like one that says of no place.
    if (places === 0) view.putHeld(id, held);
  };
  const countUpload = async (at: Buffer, row: UploadRow | undefined): Promise<void> => {
    const digests = row && (await digestsOf(view, at, row));
    if (row && digests) {
      for (const sha256 of eachDigest(digests)) count(sha256, row.pieceSize);
      return;
    }
    view.removeUpload(at, row ? partsOf(row) : 0);
    view.after(() => parts.ledger.setUpload(at.toString('latin1'), undefined));
  };
  await eachRow(store, TABLE.content, decodeContentRow, countContent, silent);
  await eachRow(store, TABLE.upload, decodeUploadRow, countUpload, silent);
  return counts;
}

/** The row of a content that somebody holds is written again from memory; of one that nobody holds nothing is known any more. */
function mended(
  { ledger, opened, now }: Pick<Parts, 'ledger' | 'opened' | 'now'>,
  view: IndexView,
  id: Buffer,
): ContentRow | undefined {
  const name = id.toString('hex');
  const content = opened.get(id);
  if (!content) {
    view.after(() => ledger.setContent(name, undefined));
    return undefined;
  }
  const { manifest, verified, held, bad } = content;
  const owners = ledger.contents.get(name)?.owners ?? new Map();
  const row = { manifest: bad ? undefined : manifest, verified, usedMs: now(), owners };
  view.putContent(id, row);
  view.putHeld(id, held);
  return row;
}

async function correctRows(store: Store, view: IndexView, counts: Map<string, Counted>, shard: number): Promise<void> {
  const correct = (sha256: Buffer, row: PieceRow | undefined): void => {
    if (shardOf(sha256) !== shard) return;
    const name = sha256.toString('hex');
    const counted = counts.get(name);
    counts.delete(name);
    if (!counted) return view.removePiece(sha256);
    // What a damaged row said is as it was: the file is read and verified before anybody gets it.
    const length = row?.length ?? counted.length;
    if (row?.references !== counted.references)
      view.putPiece(sha256, { length, references: counted.references, sentBy: row?.sentBy ?? [] });
  };
  await eachRow(store, TABLE.piece, decodePieceRow, correct, silent);
  for (const { sha256, references } of counts.values()) view.putPiece(sha256, { length: 0, references, sentBy: [] });
}
