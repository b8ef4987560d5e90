import { key, numberAt, prefixed } from '../../store/keys.js';
import { Change, type KeyRange, type Store } from '../../store/store.js';
import { type Channel, type Channels, type FirstEntry, firstEntry } from './channels.js';
import { endOf } from './entry.js';
import type { Holds } from './holds.js';
import { channelKey, type Damaged, edgeOf, type IndexRow, readIndexRow } from './index-row.js';
import type { MissingRows } from './missing-rows.js';
import type { Quarantine } from './quarantine.js';
import type { Recent } from './recent.js';
import { LOG, LOG_CHANNEL } from './tables.js';
import type { LogWriter } from './writer.js';

/** Entries that go in one change: 8 MiB of full batches, and about a millisecond of a commit. */
const STEP = 128;

/** Removes what is too old or too much, and passed by every durable subscription that it concerns: oldest first, in small steps. */
export class Retention {
  readonly #store: Store;
  readonly #channels: Channels;
  readonly #holds: Holds;
  readonly #writer: LogWriter;
  readonly #quarantine: Quarantine;
  readonly #recent: Recent;
  readonly #bounds: { first: number; readonly end: number };
  readonly #now: () => number;
  readonly #damaged: Damaged;
  readonly #missing: MissingRows;
  readonly #due = new Set<Channel>();
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: {
    readonly store: Store;
    readonly channels: Channels;
    readonly holds: Holds;
    readonly writer: LogWriter;
    readonly quarantine: Quarantine;
    readonly recent: Recent;
    readonly bounds: { first: number; readonly end: number };
    readonly now: () => number;
    readonly damaged: Damaged;
    readonly missing: MissingRows;
  }) {
    this.#store = options.store;
    this.#channels = options.channels;
    this.#holds = options.holds;
    this.#writer = options.writer;
    this.#quarantine = options.quarantine;
    this.#recent = options.recent;
    this.#bounds = options.bounds;
    this.#now = options.now;
    this.#damaged = options.damaged;
    this.#missing = options.missing;
  }

  /** Whether the oldest entry of a channel may go. */
  isDue(channel: Channel): boolean {
    const { first, bytes, keepBytes, keepMs } = channel;
    if (!first || (bytes <= keepBytes && this.#now() - first.storedMs < keepMs)) return false;
    return first.end <= this.#holds.floor(channel);
  }

  /** Trims a channel, together with what is being trimmed now. Rejects as `commit` does. */
  trim(channel: Channel): Promise<void> {
    this.#due.add(channel);
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Trims all that is due. */
  async trimAll(): Promise<void> {
    for (const channel of [...this.#channels.all()]) if (this.isDue(channel)) await this.trim(channel);
    await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running?.catch(() => undefined);
  }

  async #run(): Promise<void> {
    for (const channel of this.#due) {
      this.#due.delete(channel);
      while (!this.#closed && this.isDue(channel) && (await this.#step(channel))) {
        await new Promise(resolve => setImmediate(resolve));
      }
    }
  }

  async #step(channel: Channel): Promise<boolean> {
    const range = prefixed(key(channel.name));
    const { rewrites } = this.#quarantine;
    let rows = await this.#read(range);
    // Entries that the index lost are in it now, and go in their turn.
    if ((await this.#missing.between(channel.name, rows)).length > 0) rows = await this.#read(range);
    // A row that was written anew since refers to another body.
    if (rewrites !== this.#quarantine.rewrites) return true;
    const floor = this.#holds.floor(channel);
    const change = new Change();
    const removed: number[] = [];
    let left: FirstEntry | undefined;
    let before = channel.first?.before ?? 0;
    for (const row of rows) {
      const { offset, storedMs } = row;
      before = row.before ?? before;
      const kept = channel.committedTotal - before <= channel.keepBytes && this.#now() - storedMs < channel.keepMs;
      if (kept || endOf(row) > floor || removed.length === STEP || this.#quarantine.busy(offset)) {
        left = firstEntry(row, before);
        break;
      }
      change.remove(LOG, key(offset)).remove(LOG_CHANNEL, channelKey(channel.name, offset));
      if (row.body) change.release(row.body);
      before += row.bytes;
      removed.push(offset);
    }
    const last = removed.at(-1);
    if (last === undefined) return false;
    channel.trimmedTo = last;
    this.#writer.keepEnd(change);
    await this.#store.commit(change);
    for (const offset of removed) this.#recent.trim(offset);
    // What came while this one was committed is its first now.
    if (!left && channel.newest > last) left = await this.#firstOf(channel);
    this.#channels.trimmed(channel, left);
    await this.#findFirst();
    return true;
  }

  async #read(range: KeyRange): Promise<IndexRow[]> {
    const rows: IndexRow[] = [];
    for (const row of await this.#store.scan(LOG_CHANNEL, { ...range, limit: STEP + 1 }))
      rows.push(await readIndexRow(this.#store, row, this.#damaged));
    return rows;
  }

  async #firstOf(channel: Channel): Promise<FirstEntry | undefined> {
    const first = await edgeOf(this.#store, channel.name, 'first', this.#damaged);
    return first && firstEntry(first.row, first.total);
  }

  async #findFirst(): Promise<void> {
    // Taken before the look: entries that come meanwhile are behind it.
    const { end } = this.#bounds;
    const [row] = await this.#store.scan(LOG, { limit: 1 });
    this.#bounds.first = row ? numberAt(row.key, 0) : end;
  }
}
