import type { Pattern } from '../../messaging/address.js';
import { key, numberAt } from '../../store/keys.js';
import type { Row, Store } from '../../store/store.js';
import type { Channels } from './channels.js';
import { concerns, damagedEntry, decodeEntry, endOf, type HeldEntry } from './entry.js';
import { channelKey } from './index-row.js';
import type { Recent } from './recent.js';
import { LOG, LOG_CHANNEL } from './tables.js';

/** Rows that one `read` looks at at most when most of them are of other channels: a few milliseconds. */
const SCAN_ROWS = 1_024;
/** Up to so many channels are read each by its own index; more, and the whole log is gone through. */
const MERGED_CHANNELS = 8;

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

  constructor(store: Store, channels: Channels, recent: Recent, bounds: Bounds) {
    this.#store = store;
    this.#channels = channels;
    this.#recent = recent;
    this.#bounds = bounds;
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

  /** The entry at an offset; undefined when it was trimmed. */
  async get(offset: number): Promise<{ entry: HeldEntry; row: Buffer } | undefined> {
    const [row] = await this.#store.scan(LOG, { from: key(offset), to: key(offset + 1), limit: 1 });
    return row && { entry: await this.#open(row), row: row.damaged ? Buffer.alloc(0) : row.value };
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
      const entry = row.damaged ? await this.#open(row) : decodeEntry(row);
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
    // Up to here the index of every channel was read.
    let complete = end;
    for (const name of names) {
      const start = await this.#startOf(LOG_CHANNEL, key(name), from);
      const range = { from: channelKey(name, start), to: channelKey(name, end) };
      // One more than asked for: the first may end before the offset.
      const rows = await this.#store.scan(LOG_CHANNEL, { ...range, limit: limit + 1 });
      for (const row of rows) offsets.push(numberAt(row.key, row.key.length - 8));
      if (rows.length > limit) complete = Math.min(complete, (offsets.at(-1) ?? 0) + 1);
    }
    offsets.sort((a, b) => a - b);
    const wanted = offsets.filter(offset => offset < complete).slice(0, limit + names.length);
    const found = await Promise.all(wanted.map(offset => this.get(offset)));
    const entries = found.flatMap(each => (each && endOf(each.entry) > from ? [each.entry] : [])).slice(0, limit);
    const last = entries.at(-1);
    if (entries.length === limit && last) return { entries, next: endOf(last) };
    return { entries, next: Math.max(from, complete, last ? endOf(last) : 0) };
  }

  /** A damaged row is a gap up to the next entry. */
  async #open(row: Row): Promise<HeldEntry> {
    if (!row.damaged) return decodeEntry(row);
    const offset = numberAt(row.key, 0);
    const [next] = await this.#store.scan(LOG, { from: key(offset + 1), limit: 1 });
    return damagedEntry(offset, next ? numberAt(next.key, 0) : this.#bounds.end);
  }

  /** The offset of the entry that an offset falls into, or the offset itself. */
  async #startOf(table: string, prefix: Buffer, offset: number): Promise<number> {
    const to = Buffer.concat([prefix, key(offset + 1)]);
    const [row] = await this.#store.scan(table, { from: Buffer.concat([prefix, key(0)]), to, limit: 1, reverse: true });
    return row ? numberAt(row.key, prefix.length) : offset;
  }
}
