import { key, numberAt } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import { decodeEntry, encodeChannelRow, endOf } from './entry.js';
import { channelKey, type Damaged, type IndexRow } from './index-row.js';
import { LOG, LOG_CHANNEL } from './tables.js';

/** What the rows of an index say of each other. */
export type Joint = Pick<IndexRow, 'offset' | 'count' | 'bytes' | 'before'>;

/** Rows of the log that are looked at between two turns of the event loop. */
const PAGE = 1_024;
/** Places that are remembered as searched. */
const MAX_SEARCHED = 4_096;

/**
 * Entries that the index of their channel does not have: a bit that flips in a key puts its row somewhere else. Each row says how many bytes
 * of the channel come before it; where two do not join, the log itself is looked through, once, and what is missing is written anew.
 */
export class MissingRows {
  readonly #store: Store;
  readonly #damaged: Damaged;
  readonly #searched = new Map<string, Promise<readonly number[]>>();

  constructor(store: Store, damaged: Damaged) {
    this.#store = store;
    this.#damaged = damaged;
  }

  /** Offsets that lie between rows that follow each other in an index and do not join. Damaged ones may be of other channels. */
  async between(channel: string, rows: readonly Joint[]): Promise<readonly number[]> {
    const found: number[] = [];
    for (const [i, to] of rows.entries()) {
      const from = rows[i - 1];
      if (from?.before === undefined || to.before === undefined || from.before + from.bytes === to.before) continue;
      const total = from.before + from.bytes;
      found.push(...(await this.#once(channel, endOf(from), to.offset, total)));
    }
    return found;
  }

  #once(channel: string, from: number, to: number, total: number): Promise<readonly number[]> {
    const place = `${channel} ${from} ${to}`;
    let searched = this.#searched.get(place);
    if (!searched) {
      if (this.#searched.size === MAX_SEARCHED) this.#searched.clear();
      searched = this.#search(channel, from, to, total);
      // A search that failed is made again.
      searched.catch(() => this.#searched.delete(place));
      this.#searched.set(place, searched);
    }
    return searched;
  }

  async #search(channel: string, from: number, to: number, before: number): Promise<readonly number[]> {
    const found: number[] = [];
    const change = new Change();
    let total = before;
    for (let at = from; ; ) {
      const rows = await this.#store.scan(LOG, { from: key(at), to: key(to), limit: PAGE });
      for (const row of rows) {
        const entry = row.damaged ? undefined : decodeEntry(row);
        if (entry && entry.channel !== channel) continue;
        const offset = numberAt(row.key, 0);
        found.push(offset);
        if (!entry) continue;
        total += entry.bytes;
        change.put(LOG_CHANNEL, channelKey(channel, offset), encodeChannelRow(entry, total));
        this.#damaged('log-channel', channel, offset);
      }
      const last = rows.at(-1);
      if (!last || rows.length < PAGE) break;
      at = numberAt(last.key, 0) + 1;
      await new Promise(resolve => setImmediate(resolve));
    }
    // Retention finds them by that. Where the disk takes nothing they can be read all the same.
    if (!change.empty) await this.#store.commit(change).catch(() => undefined);
    return found;
  }
}
