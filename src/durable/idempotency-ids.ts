import { DedupeIdRow } from '../../gen/ts/fedgate/store/v1/idempotency.js';
import { key } from '../store/keys.js';
import type { Change, Store } from '../store/store.js';
import { type Claim, DEDUPE_KEEP_MS, type HeldCall, type Judgement, type RepeatableCall } from './idempotency-call.js';
import { IDEMPOTENCY_TABLE, type IdempotencyOrder } from './idempotency-order.js';
import { Outcome } from './outcome.js';
import type { StreamPosition } from './types.js';

/** An id that somebody asks about or whose call is under way. */
interface Entry {
  readonly name: string;
  readonly rowKey: Buffer;
  row: DedupeIdRow | undefined;
  loading: Promise<void> | undefined;
  claim: IdClaim | undefined;
  holds: number;
}

/** Dedupe ids: known from the disk, or from calls that are under way. */
export class DedupeIds {
  readonly #store: Store;
  readonly #scope: string;
  readonly #now: () => number;
  readonly #order: IdempotencyOrder;
  readonly #entries = new Map<string, Entry>();

  constructor(
    { store, scope, now }: { readonly store: Store; readonly scope: string; readonly now: () => number },
    order: IdempotencyOrder,
  ) {
    this.#store = store;
    this.#scope = scope;
    this.#now = now;
    this.#order = order;
  }

  hold(call: RepeatableCall): HeldCall {
    const rowKey = this.#key(call);
    const name = rowKey.toString('latin1');
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = { name, rowKey, row: undefined, loading: undefined, claim: undefined, holds: 0 };
      this.#entries.set(name, entry);
      entry.loading = this.#load(entry);
    }
    entry.holds++;
    const held = entry;
    return {
      ready: held.loading,
      judge: () => this.#judge(held, call.node),
      release: () => this.#unhold(held),
    };
  }

  #judge(entry: Entry, node: string): Judgement {
    const { row, claim } = entry;
    if (claim) {
      this.#unhold(entry);
      return { kind: 'known', position: claim.outcome.promise };
    }
    if (row && Number(row.storedMs) >= this.#now() - DEDUPE_KEEP_MS) {
      this.#unhold(entry);
      return { kind: 'known', position: Promise.resolve({ epoch: row.epoch, sequence: Number(row.sequence) }) };
    }
    const fresh = new IdClaim(
      (change, position) => this.#record(change, node, entry, position),
      stored => {
        entry.claim = undefined;
        entry.row = stored ?? entry.row;
        this.#drop(entry);
      },
    );
    entry.claim = fresh;
    this.#unhold(entry);
    return { kind: 'new', claim: fresh };
  }

  prune(): Promise<void> {
    return this.#order.prune(rowKey => this.#entries.has(rowKey.toString('latin1')));
  }

  #record(change: Change, node: string, entry: Entry, { epoch, sequence }: StreamPosition): DedupeIdRow {
    const number = BigInt(this.#order.add(change, node, entry.rowKey, entry.row && Number(entry.row.number)));
    const row = { epoch, sequence: BigInt(sequence), storedMs: BigInt(this.#now()), number };
    change.put(IDEMPOTENCY_TABLE, entry.rowKey, Buffer.from(DedupeIdRow.encode(row).finish()));
    return row;
  }

  async #load(entry: Entry): Promise<void> {
    try {
      const bytes = await this.#store.get(IDEMPOTENCY_TABLE, entry.rowKey);
      if (bytes) entry.row = DedupeIdRow.decode(bytes);
    } catch (error) {
      // Nobody may take it for one that is new.
      this.#entries.delete(entry.name);
      throw error;
    } finally {
      entry.loading = undefined;
    }
  }

  #key({ node, address, idempotency }: RepeatableCall): Buffer {
    return key(this.#scope, 'id', node, address, idempotency.id);
  }

  #unhold(entry: Entry): void {
    entry.holds--;
    this.#drop(entry);
  }

  #drop(entry: Entry): void {
    if (entry.holds === 0 && !entry.claim && this.#entries.get(entry.name) === entry) this.#entries.delete(entry.name);
  }
}

type WriteRow = (change: Change, position: StreamPosition) => DedupeIdRow;

class IdClaim implements Claim {
  readonly lost = undefined;
  readonly outcome = new Outcome<StreamPosition>();
  readonly #write: WriteRow;
  readonly #over: (row: DedupeIdRow | undefined) => void;
  #row: DedupeIdRow | undefined;
  #position: StreamPosition | undefined;

  constructor(write: WriteRow, over: (row: DedupeIdRow | undefined) => void) {
    this.#write = write;
    this.#over = over;
  }

  record(change: Change, position: StreamPosition): void {
    this.#row = this.#write(change, position);
    this.#position = position;
  }

  committed(): void {
    this.#over(this.#row);
    if (this.#position) this.outcome.resolve(this.#position);
  }

  failed(error: unknown): void {
    this.#over(undefined);
    this.outcome.reject(error);
  }
}
