import type { Pattern } from '../../messaging/address.js';
import { matches } from '../../messaging/pattern.js';
import type { Store } from '../../store/store.js';
import { concerns, endOf, type HeldEntry } from './entry.js';
import { channelOf, type Damaged, edgeOf, type IndexRow } from './index-row.js';
import { LOG_CHANNEL } from './tables.js';

/** How long, and how much of, a channel is kept for replay. */
export interface RetentionRule {
  readonly pattern: Pattern;
  readonly keepMs: number;
  /** Of one channel. */
  readonly keepBytes: number;
}

/** Channels that no rule speaks of: a week, as long as dedupe ids count, and what fits beside others on a small disk. */
export const DEFAULT_KEEP_MS = 7 * 24 * 3600_000;
export const DEFAULT_KEEP_BYTES = 1024 * 1024 * 1024;

/** The oldest entry of a channel. */
export interface FirstEntry {
  readonly offset: number;
  readonly end: number;
  readonly storedMs: number;
  /** The running total of the channel before it. */
  readonly before: number;
}

export const firstEntry = (row: IndexRow, before: number): FirstEntry => {
  const { offset, storedMs } = row;
  return { offset, end: endOf(row), storedMs, before };
};

/** What the log knows of a channel without looking at the disk: ~300 bytes while the channel has entries. */
export interface Channel {
  readonly name: string;
  readonly keepMs: number;
  readonly keepBytes: number;
  /** The log of bodies it writes to: channels that are kept equally long share one, so that what lies together goes together. */
  readonly bodies: string;
  /** In the log now. */
  bytes: number;
  first: FirstEntry | undefined;
  /** The offset of the newest entry on stable storage. */
  newest: number;
  /** Up to here entries were removed, or are being removed. */
  trimmedTo: number;
  /** The running total of the newest entry: of those on stable storage, and with those that are under way. */
  committedTotal: number;
  total: number;
  underWay: number;
  /** What durable subscriptions have not passed, in all and by organisation. */
  held: number;
  readonly heldOf: Map<string, number>;
}

/** The channels that have entries, with what is needed to bound them. Read from two rows per channel when the log is opened. */
export class Channels {
  readonly #rules: readonly RetentionRule[];
  readonly #channels = new Map<string, Channel>();
  /** The newest entry of them all by what their indexes said when they were opened. */
  readonly opened = { newest: 0, channel: '', end: 0, storedMs: 0 };

  private constructor(rules: readonly RetentionRule[]) {
    this.#rules = rules;
  }

  /** `damaged` hears of rows that had to be rebuilt. */
  static async open(store: Store, rules: readonly RetentionRule[], damaged: Damaged): Promise<Channels> {
    const channels = new Channels(rules);
    let from: Buffer | undefined;
    for (;;) {
      const [row] = await store.scan(LOG_CHANNEL, from ? { from, limit: 1 } : { limit: 1 });
      if (!row) return channels;
      const name = channelOf(row.key);
      await channels.#load(store, channels.of(name), damaged);
      // The name ends with a zero byte: this is behind all its offsets and before any other name.
      from = Buffer.from(`${name}\x01`);
    }
  }

  /** The channel, made when it is new. */
  of(name: string): Channel {
    let channel = this.#channels.get(name);
    if (!channel) {
      const at = this.#rules.findIndex(({ pattern }) => name !== '' && matches(pattern, name));
      channel = {
        name,
        keepMs: this.#rules[at]?.keepMs ?? DEFAULT_KEEP_MS,
        keepBytes: this.#rules[at]?.keepBytes ?? DEFAULT_KEEP_BYTES,
        bodies: at < 0 ? 'inbox' : `inbox-${at}`,
        bytes: 0,
        first: undefined,
        newest: 0,
        trimmedTo: 0,
        committedTotal: 0,
        total: 0,
        underWay: 0,
        held: 0,
        heldOf: new Map(),
      };
      this.#channels.set(name, channel);
    }
    return channel;
  }

  get(name: string): Channel | undefined {
    return this.#channels.get(name);
  }

  all(): IterableIterator<Channel> {
    return this.#channels.values();
  }

  get size(): number {
    return this.#channels.size;
  }

  /** Those with entries that concern a pattern; undefined when there are more than so many. */
  matching(pattern: Pattern, most: number): Channel[] | undefined {
    const found: Channel[] = [];
    for (const channel of this.#channels.values()) {
      if (!channel.first || !concerns(pattern, channel.name)) continue;
      if (found.length === most) return undefined;
      found.push(channel);
    }
    return found;
  }

  committed(channel: Channel, entry: HeldEntry): void {
    channel.bytes += entry.bytes;
    channel.committedTotal += entry.bytes;
    channel.newest = entry.offset;
    const before = channel.committedTotal - entry.bytes;
    channel.first ??= { offset: entry.offset, end: endOf(entry), storedMs: entry.storedMs, before };
  }

  trimmed(channel: Channel, first: FirstEntry | undefined): void {
    channel.bytes = first ? channel.committedTotal - first.before : 0;
    channel.first = first;
    this.forget(channel);
  }

  /** Drops what is known of a channel that has no entries. */
  forget(channel: Channel): void {
    if (!channel.first && channel.underWay === 0) this.#channels.delete(channel.name);
  }

  async #load(store: Store, channel: Channel, damaged: Damaged): Promise<void> {
    const first = await edgeOf(store, channel.name, 'first', damaged);
    const last = await edgeOf(store, channel.name, 'last', damaged);
    if (!first || !last) return;
    channel.newest = last.row.offset;
    channel.total = last.total;
    channel.committedTotal = last.total;
    channel.bytes = last.total - first.total;
    channel.first = firstEntry(first.row, first.total);
    const { offset: newest, storedMs } = last.row;
    if (newest > this.opened.newest)
      Object.assign(this.opened, { newest, channel: channel.name, end: endOf(last.row), storedMs });
  }
}
