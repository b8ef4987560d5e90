import { ApprovalInboxRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { key, numberAt, prefixed } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import type { BookEvent, BookLimits } from './options.js';
import { readRow, rowsOf } from './scans.js';
import { TABLE } from './tables.js';

/** What another gateway said and was not looked at yet. */
export interface Waiting {
  readonly rowKey: Buffer;
  readonly from: OrgName;
  readonly receiveMs: number;
  readonly exchange: Buffer;
  /** Of the row. */
  readonly bytes: number;
}

interface Tally {
  count: number;
  bytes: number;
}

/** Rows of one organisation that are taken before the next one has its turn: so one that floods does not hold up the others. */
const ROWS_A_TURN = 16;

/** What came and waits to be looked at, on the disk, by the organisation that sent it. */
export class Inbox {
  readonly #store: Store;
  readonly #limits: Pick<BookLimits, 'inboxPerOrg' | 'inboxBytesPerOrg'>;
  readonly #onEvent: (event: BookEvent) => void;
  readonly #tallies = new Map<string, Tally>();
  #next = 1;
  #turn = 0;
  /** How often something was put into a change. */
  puts = 0;

  constructor(
    store: Store,
    limits: Pick<BookLimits, 'inboxPerOrg' | 'inboxBytesPerOrg'>,
    onEvent: (event: BookEvent) => void,
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#onEvent = onEvent;
  }

  async load(): Promise<void> {
    for await (const row of rowsOf(this.#store, TABLE.inbox)) {
      this.#next = Math.max(this.#next, numberAt(row.key, row.key.length - 8) + 1);
      this.#count(orgOf(row.key), 1, row.damaged ? 0 : row.value.length);
    }
  }

  /** Puts what came into the caller's change. Throws LIMIT_REACHED when too much of that organisation waits. */
  put(change: Change, from: OrgName, exchanges: readonly Uint8Array[], receiveMs: number): void {
    const { count, bytes } = this.#tallies.get(from) ?? { count: 0, bytes: 0 };
    const { inboxPerOrg, inboxBytesPerOrg } = this.#limits;
    const more = exchanges.reduce((sum, { length }) => sum + length, 0);
    // Whatever its size, something is taken when nothing waits.
    if (count > 0 && (count + exchanges.length > inboxPerOrg || bytes + more > inboxBytesPerOrg)) {
      throw new FedgateError('LIMIT_REACHED', `${count} messages of ${from} about approvals wait to be looked at`, {
        metadata: { limit: 'approvals inbox' },
        retryAfterMs: 1_000,
      });
    }
    this.puts++;
    for (const exchange of exchanges) {
      const row = { receiveMs: BigInt(receiveMs), exchange };
      const value = Buffer.from(ApprovalInboxRow.encode(row).finish());
      change.put(TABLE.inbox, key(from, this.#next++), value);
      this.#count(from, 1, value.length);
    }
  }

  /** What is next, of each organisation in turn; empty when nothing is there. Damaged rows are removed. */
  async take(): Promise<readonly Waiting[]> {
    const orgs = [...this.#tallies.keys()];
    for (let i = 0; i < orgs.length; i++) {
      const org = orgs[(this.#turn + i) % orgs.length] as OrgName;
      const waiting = await this.#of(org);
      if (waiting.length === 0) continue;
      this.#turn = (this.#turn + i + 1) % orgs.length;
      return waiting;
    }
    return [];
  }

  /** One was looked at and its row removed. */
  done({ from, bytes }: Pick<Waiting, 'from' | 'bytes'>): void {
    this.#count(from, -1, -bytes);
  }

  /** Something of an organisation is committed. */
  note(from: OrgName): void {
    this.#count(from, 0, 0);
  }

  /** Counts anew: nothing waits, and what was counted for changes that failed is gone. */
  reset(): void {
    this.#tallies.clear();
  }

  get empty(): boolean {
    return this.#tallies.size === 0;
  }

  async #of(org: OrgName): Promise<Waiting[]> {
    const found: Waiting[] = [];
    const damaged = new Change();
    for (const row of await this.#store.scan(TABLE.inbox, { ...prefixed(key(org)), limit: ROWS_A_TURN })) {
      const read = readRow(row, value => ApprovalInboxRow.decode(value));
      if (read) {
        const exchange = Buffer.from(read.exchange);
        found.push({
          rowKey: row.key,
          from: org,
          receiveMs: Number(read.receiveMs),
          exchange,
          bytes: row.value.length,
        });
        continue;
      }
      this.#onEvent({ kind: 'row-damaged', table: TABLE.inbox, key: row.key.toString('hex') });
      damaged.remove(TABLE.inbox, row.key);
      this.#count(org, -1, 0);
    }
    if (!damaged.empty) await this.#store.commit(damaged);
    return found;
  }

  #count(org: string, count: number, bytes: number): void {
    const tally = this.#tallies.get(org) ?? { count: 0, bytes: 0 };
    this.#tallies.set(org, tally);
    tally.count = Math.max(0, tally.count + count);
    tally.bytes = Math.max(0, tally.bytes + bytes);
  }
}

const orgOf = (rowKey: Buffer): string => rowKey.subarray(0, rowKey.indexOf(0)).toString();
