import { LogChannelRow } from '../../../gen/ts/fedgate/store/v1/log.js';
import type { OrgName } from '../../identity/names.js';
import { key, numberAt, prefixed } from '../../store/keys.js';
import type { BodyRef, Row, Store } from '../../store/store.js';
import { MAX_FRAME_RECORDS } from '../../wire/records.js';
import { decodeEntry } from './entry.js';
import { LOG, LOG_CHANNEL } from './tables.js';

/** What the index of a channel says of an entry. */
export interface IndexRow {
  readonly offset: number;
  readonly count: number;
  readonly bytes: number;
  readonly storedMs: number;
  readonly senderOrg: OrgName;
  readonly body: BodyRef | undefined;
  /** Bytes of the channel before it, counted from some earlier entry. Undefined: its row is damaged. */
  readonly before: number | undefined;
}

/** Hears of a damaged row of the log, or of the index of a channel. The channel of the former may not be known: it is empty then. */
export type Damaged = (row: 'log' | 'log-channel', channel: string, offset: number) => void;

/** An entry has at least one record and at most this many: as far as numbers may be used up where nobody knows. */
const MAX_COUNT = MAX_FRAME_RECORDS;

export const channelKey = (name: string, offset: number): Buffer => key(name, offset);
export const channelOf = (indexKey: Buffer): string => indexKey.toString('utf8', 0, indexKey.length - 9);
export const offsetOf = (indexKey: Buffer): number => numberAt(indexKey, indexKey.length - 8);

/** Throws STORE_DAMAGED for one that is damaged. */
export function decodeIndexRow({ key: at, value }: Pick<Row, 'key' | 'value'>): IndexRow & { readonly before: number } {
  const { count, bytes, body, totalBytes, ...more } = LogChannelRow.decode(value);
  const senderOrg = more.senderOrg as OrgName;
  const before = Number(totalBytes) - bytes;
  return { offset: offsetOf(at), count, bytes, storedMs: Number(more.storedMs), senderOrg, body, before };
}

/** Reads a row of the index. One that is damaged is rebuilt from its entry; where that is damaged too, it is a gap without bytes. */
export async function readIndexRow(store: Store, row: Row, damaged: Damaged): Promise<IndexRow> {
  const offset = offsetOf(row.key);
  if (!row.damaged) return decodeIndexRow(row);
  const channel = channelOf(row.key);
  damaged('log-channel', channel, offset);
  const found = await store.scan(LOG, { from: key(offset), limit: 2 });
  const [own] = found;
  const entry = own && !own.damaged && decodeEntry(own);
  if (entry && entry.offset === offset && entry.channel === channel) {
    const { count, bytes, storedMs, senderOrg, body } = entry;
    return { offset, count, bytes, storedMs, senderOrg, body, before: undefined };
  }
  const next = found.find(({ key: at }) => numberAt(at, 0) > offset);
  const [earlier] = await store.scan(LOG, { to: key(offset), limit: 1, reverse: true });
  const end = next ? numberAt(next.key, 0) : offset + MAX_COUNT;
  // It is about as old as what stands beside it.
  const beside = [next, earlier].find(other => other && !other.damaged);
  const storedMs = beside ? decodeEntry(beside).storedMs : 0;
  const senderOrg = '' as OrgName;
  return { offset, count: end - offset, bytes: 0, storedMs, senderOrg, body: undefined, before: undefined };
}

/**
 * The first or last entry of a channel, and the running total of bytes before or behind it. Looks on from row to row until one says how
 * much there was. Undefined: there is none.
 */
export async function edgeOf(
  store: Store,
  channel: string,
  edge: 'first' | 'last',
  damaged: Damaged,
): Promise<{ readonly row: IndexRow; readonly total: number } | undefined> {
  let { from, to } = prefixed(key(channel));
  let found: IndexRow | undefined;
  let passed = 0;
  for (;;) {
    const [stored] = await store.scan(LOG_CHANNEL, { from, to, limit: 1, reverse: edge === 'last' });
    if (!stored) return found && { row: found, total: edge === 'last' ? passed : 0 };
    const row = await readIndexRow(store, stored, damaged);
    found ??= row;
    if (row.before !== undefined) {
      return { row: found, total: edge === 'last' ? row.before + row.bytes + passed : row.before - passed };
    }
    passed += row.bytes;
    if (edge === 'last') to = stored.key;
    else from = Buffer.concat([stored.key, Buffer.of(0)]);
  }
}

/** Where an entry that may be damaged ends: by what the index of all channels says when it was the newest, else nobody knows. */
export const endBehind = (offset: number, indexed: number): number => (indexed > offset ? indexed : offset + MAX_COUNT);
