import type { OrgName } from '../../identity/names.js';
import { key, numberAt, prefixed } from '../../store/keys.js';
import { Change, type Row, type Store } from '../../store/store.js';
import { orgOfKey, rowsOf } from './rows.js';
import { TABLE } from './terms.js';

/** Rows of one organisation that are taken before the next one has its turn. */
const ROWS_A_TURN = 16;

/** What was said and waits to be looked at, on the disk, by the organisation that said it; by the own one too. */
export class StoredInbox {
  readonly #store: Store;
  readonly #counts = new Map<string, number>();
  #next = 1;
  #puts = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  async load(): Promise<void> {
    for await (const row of rowsOf(this.#store, TABLE.inbox)) {
      this.#next = Math.max(this.#next, numberAt(row.key, row.key.length - 8) + 1);
      this.#count(orgOfKey(row.key), 1);
    }
  }

  /** How many of an organisation wait, and perhaps some whose change failed. */
  waiting(from: string): number {
    return this.#counts.get(from) ?? 0;
  }

  put(change: Change, from: OrgName, exchange: Uint8Array): void {
    this.#puts++;
    change.put(TABLE.inbox, key(from, this.#next++), Buffer.from(exchange));
    this.#count(from, 1);
  }

  /** What is next, of each organisation some; empty when nothing is there. */
  async take(): Promise<readonly { readonly from: OrgName; readonly row: Row }[]> {
    for (;;) {
      const found = (await Promise.all([...this.#counts.keys()].map(org => this.#of(org)))).flat();
      if (found.length > 0 || this.#counts.size === 0) return found;
      // What was put into changes before is through now, or it never will be.
      const puts = this.#puts;
      await this.#store.commit(new Change());
      const late = (await Promise.all([...this.#counts.keys()].map(org => this.#of(org)))).flat();
      if (late.length > 0) return late;
      if (this.#puts === puts) this.#counts.clear();
    }
  }

  done(from: string): void {
    this.#count(from, -1);
  }

  async #of(org: string): Promise<{ readonly from: OrgName; readonly row: Row }[]> {
    const rows = await this.#store.scan(TABLE.inbox, { ...prefixed(key(org)), limit: ROWS_A_TURN });
    return rows.map(row => ({ from: org as OrgName, row }));
  }

  #count(org: string, step: 1 | -1): void {
    this.#counts.set(org, Math.max(0, (this.#counts.get(org) ?? 0) + step));
  }
}
