import type { OrgName } from '../../identity/names.js';
import type { Pattern } from '../../messaging/address.js';
import { key, numberAt } from '../../store/keys.js';
import type { Row, Store } from '../../store/store.js';
import type { Channels } from './channels.js';
import { concerns, damagedEntry, decodeEntry, endOf, type HeldEntry } from './entry.js';
import { channelKey, type Damaged, decodeIndexRow, type IndexRow, offsetOf, readIndexRow } from './index-row.js';
import type { Joint, MissingRows } from './missing-rows.js';
import type { Recent } from './recent.js';
import { LOG, LOG_CHANNEL } from './tables.js';

/** Rows that one `read` looks at at most when most of them are of other channels: a few milliseconds. */
const SCAN_ROWS = 1_024;
/** Up to so many channels are read each by its own index; more, and the whole log is gone through. */
const MERGED_CHANNELS = 8;
/** Channels that are asked for a damaged row between two turns of the event loop, and damaged rows whose channel is remembered. */
const ASKED_A_TURN = 256;
const MAX_REMEMBERED = 4_096;

/** What of a row says whether it joins its neighbours: nothing, when it is damaged. */
const jointOf = (row: Row): Joint =>
  row.damaged ? { offset: offsetOf(row.key), count: 1, bytes: 0, before: undefined } : decodeIndexRow(row);

export interface Bounds {
  /** The oldest offset that is held, and the one behind the newest entry on stable storage. */
  readonly first: number;
  readonly end: number;
}

/** Reads entries: from memory at the end of the log, else by the index of a channel, else page by page. */
export class LogReader {
  readonly #store: Store;
  readonly #channels: Channels;
  readonly #recent: Recent;
  readonly #bounds: Bounds;
  readonly #damaged: Damaged;
  readonly #missing: MissingRows;
  /** The channels of damaged rows, for as long as they are read again and again. */
  readonly #channelOf = new Map<number, string>();

  constructor(options: {
    readonly store: Store;
    readonly channels: Channels;
    readonly recent: Recent;
    readonly bounds: Bounds;
    readonly damaged: Damaged;
    readonly missing: MissingRows;
  }) {
    this.#store = options.store;
    this.#channels = options.channels;
    this.#recent = options.recent;
    this.#bounds = options.bounds;
    this.#damaged = options.damaged;
    this.#missing = options.missing;
  }

  async read(from: number, pattern: Pattern, limit: number): Promise<{ entries: HeldEntry[]; next: number }> {
    const { first, end } = this.#bounds;
    const start = Math.max(from, first);
    if (start >= end) return { entries: [], next: start };
    if (this.#recent.covers(start)) return this.#recent.read(start, pattern, limit, end);
    const channels = this.#channels.matching(pattern, MERGED_CHANNELS);
    // Going through the log is as good when nearly all of it is wanted.
    if (channels && (channels.length * 2 <= this.#channels.size || channels.length <= 1)) {
      const names = channels.map(({ name }) => name);
      return this.#merge(names, start, limit, end);
    }
    return this.#scan(start, pattern, limit, end);
  }

  /** The entry at an offset; undefined when it was trimmed. `channel`: the one whose index has it. */
  async get(offset: number, channel?: string): Promise<HeldEntry | undefined> {
    const [row] = await this.#store.scan(LOG, { from: key(offset), to: key(offset + 1), limit: 1 });
    if (row) return row.damaged ? this.#openDamaged(offset, channel) : decodeEntry(row);
    // What was trimmed is in no index either.
    const indexed = channel === undefined ? undefined : await this.#indexed(channel, offset);
    return indexed && channel !== undefined ? this.#gap(channel, indexed) : undefined;
  }

  async offsetAt(timeMs: number): Promise<number> {
    let { first: low, end: high } = this.#bounds;
    let found = high;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const row = await this.#readable(middle, high);
      const entry = row && decodeEntry(row);
      if (entry && entry.storedMs < timeMs) low = endOf(entry);
      else {
        if (entry) found = entry.offset;
        high = middle;
      }
    }
    return found;
  }

  /** The first row of a range that is not damaged: one that is has no time to go by. */
  async #readable(from: number, to: number): Promise<Row | undefined> {
    for (let at = from; ; ) {
      const [row] = await this.#store.scan(LOG, { from: key(at), to: key(to), limit: 1 });
      if (!row?.damaged) return row;
      at = numberAt(row.key, 0) + 1;
    }
  }

  async #scan(
    from: number,
    pattern: Pattern,
    limit: number,
    end: number,
  ): Promise<{ entries: HeldEntry[]; next: number }> {
    const start = await this.#startOf(LOG, Buffer.alloc(0), from);
    const rows = await this.#store.scan(LOG, { from: key(start), to: key(end), limit: SCAN_ROWS });
    const entries: HeldEntry[] = [];
    let next = rows.length < SCAN_ROWS ? end : from;
    for (const row of rows) {
      const entry = row.damaged ? await this.#openDamaged(numberAt(row.key, 0)) : decodeEntry(row);
      if (rows.length === SCAN_ROWS) next = Math.max(next, endOf(entry));
      if (endOf(entry) <= from || !concerns(pattern, entry.channel)) continue;
      entries.push(entry);
      if (entries.length === limit) return { entries, next: endOf(entry) };
    }
    return { entries, next };
  }

  /** Reads the index of each channel and puts the entries in order. */
  async #merge(
    names: readonly string[],
    from: number,
    limit: number,
    end: number,
  ): Promise<{ entries: HeldEntry[]; next: number }> {
    const offsets: number[] = [];
    const channelOf = new Map<number, string>();
    const missing: number[] = [];
    // Up to here the index of every channel was read.
    let complete = end;
    for (const name of names) {
      const start = await this.#startOf(LOG_CHANNEL, key(name), from);
      const range = { from: channelKey(name, start), to: channelKey(name, end) };
      // One more than asked for: the first may end before the offset.
      const rows = await this.#store.scan(LOG_CHANNEL, { ...range, limit: limit + 1 });
      const joints = rows.map(jointOf);
      for (const { offset } of joints) {
        offsets.push(offset);
        channelOf.set(offset, name);
      }
      missing.push(...(await this.#missing.between(name, joints)));
      if (rows.length > limit) complete = Math.min(complete, (joints.at(-1)?.offset ?? 0) + 1);
    }
    const all = [...new Set([...offsets, ...missing])].sort((a, b) => a - b);
    const wanted = all.filter(offset => offset < complete).slice(0, limit + names.length + missing.length);
    const found = await Promise.all(wanted.map(offset => this.get(offset, channelOf.get(offset))));
    const concerned = ({ channel }: HeldEntry): boolean => channel === '' || names.includes(channel);
    const entries = found.flatMap(entry => (entry && endOf(entry) > from && concerned(entry) ? [entry] : []));
    entries.splice(limit);
    const last = entries.at(-1);
    if (entries.length === limit && last) return { entries, next: endOf(last) };
    return { entries, next: Math.max(from, complete, last ? endOf(last) : 0) };
  }

  /** A damaged row is a gap of its channel, as the index of that says; when none knows it, of every channel and up to the next entry. */
  async #openDamaged(offset: number, channel?: string): Promise<HeldEntry> {
    const name = channel ?? (await this.#channelAt(offset));
    const indexed = name === undefined ? undefined : await this.#indexed(name, offset);
    if (name !== undefined && indexed) return this.#gap(name, indexed);
    this.#damaged('log', '', offset);
    const [next] = await this.#store.scan(LOG, { from: key(offset + 1), limit: 1 });
    const end = next ? numberAt(next.key, 0) : this.#bounds.end;
    const unknown = { channel: '', senderOrg: '' as OrgName, storedMs: 0, bytes: 0 };
    return damagedEntry({ offset, count: end - offset, ...unknown });
  }

  #gap(channel: string, { offset, count, bytes, storedMs, senderOrg }: IndexRow): HeldEntry {
    this.#damaged('log', channel, offset);
    return damagedEntry({ offset, count, bytes, storedMs, senderOrg, channel });
  }

  async #indexed(channel: string, offset: number): Promise<IndexRow | undefined> {
    const range = { from: channelKey(channel, offset), to: channelKey(channel, offset + 1) };
    const [row] = await this.#store.scan(LOG_CHANNEL, { ...range, limit: 1 });
    return row && readIndexRow(this.#store, row, this.#damaged);
  }

  /** Asks every channel that may have it. */
  async #channelAt(offset: number): Promise<string | undefined> {
    const known = this.#channelOf.get(offset);
    if (known !== undefined) return known;
    let asked = 0;
    for (const { name, first, newest } of [...this.#channels.all()]) {
      if (!first || first.offset > offset || newest < offset) continue;
      if (++asked % ASKED_A_TURN === 0) await new Promise(resolve => setImmediate(resolve));
      const range = { from: channelKey(name, offset), to: channelKey(name, offset + 1) };
      if ((await this.#store.scan(LOG_CHANNEL, { ...range, limit: 1 })).length === 0) continue;
      if (this.#channelOf.size === MAX_REMEMBERED) this.#channelOf.clear();
      this.#channelOf.set(offset, name);
      return name;
    }
    return undefined;
  }

  /** The offset of the entry that an offset falls into, or the offset itself. */
  async #startOf(table: string, prefix: Buffer, offset: number): Promise<number> {
    const to = Buffer.concat([prefix, key(offset + 1)]);
    const [row] = await this.#store.scan(table, { from: Buffer.concat([prefix, key(0)]), to, limit: 1, reverse: true });
    return row ? numberAt(row.key, prefix.length) : offset;
  }
}
