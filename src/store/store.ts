/**
 * The one interface to durable state.
 *
 * Rows are small and ordered by key; bodies are large, written once, and referred to by rows. Whatever stands in one change becomes
 * durable together or not at all. The interface says nothing of the engine behind it, so that another one can serve it.
 */

/** A kind of row. Lower-case letters and `-`. */
export type Table = string;

/** Where a body is: made by `reserve`, kept in rows, given to `read`. */
export interface BodyRef {
  /** The log it was appended to: `inbox`, `outbox-GLOBEX`, … Bodies of one log are expected to be released about in order. */
  readonly log: string;
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

export interface Row {
  readonly key: Buffer;
  /** Throws STORE_DAMAGED when the row is damaged. */
  readonly value: Buffer;
  /** Whether the row is not what was written. */
  readonly damaged: boolean;
}

/** Keys in [from, to). Undefined: from the first, to the last. */
export interface KeyRange {
  readonly from?: Buffer;
  readonly to?: Buffer;
}

export interface ScanOptions extends KeyRange {
  readonly limit: number;
  /** From the last to the first. @default false */
  readonly reverse?: boolean;
}

/** What becomes durable together. Later operations on a key win over earlier ones. */
export class Change {
  readonly puts: { readonly table: Table; readonly key: Buffer; readonly value: Buffer }[] = [];
  readonly removals: { readonly table: Table; readonly key: Buffer }[] = [];
  readonly ranges: ({ readonly table: Table } & KeyRange)[] = [];
  readonly bodies: { readonly ref: BodyRef; readonly parts: readonly Buffer[] }[] = [];
  readonly released: BodyRef[] = [];
  readonly releasedBefore: BodyRef[] = [];

  put(table: Table, key: Buffer, value: Buffer): this {
    this.puts.push({ table, key, value });
    return this;
  }

  remove(table: Table, key: Buffer): this {
    this.removals.push({ table, key });
    return this;
  }

  /** Removes every row of a range, thousands rather than millions. Ranges go first, then removals, then puts. */
  removeRange(table: Table, range: KeyRange): this {
    this.ranges.push({ table, ...range });
    return this;
  }

  /** Writes a body where `reserve` said. The parts are written one after the other; together they have the reserved length. */
  write(ref: BodyRef, parts: readonly Buffer[]): this {
    this.bodies.push({ ref, parts });
    return this;
  }

  /** Says that no row refers to this body any more, once the change is committed. */
  release(ref: BodyRef): this {
    this.released.push(ref);
    return this;
  }

  /**
   * Says that no row refers to any body of this log that was reserved before this one: a row that was damaged took the knowledge of its body
   * along. What shares a file with bodies that stay may stay with them for a while. A reservation of no bytes is a mark for
   * this. Small bodies, which share no file, are neither released by this nor a mark.
   */
  releaseBefore(ref: BodyRef): this {
    this.releasedBefore.push(ref);
    return this;
  }

  /** Takes over what another change holds. */
  add(other: Change): this {
    this.puts.push(...other.puts);
    this.removals.push(...other.removals);
    this.ranges.push(...other.ranges);
    this.bodies.push(...other.bodies);
    this.released.push(...other.released);
    this.releasedBefore.push(...other.releasedBefore);
    return this;
  }

  get empty(): boolean {
    const { puts, removals, ranges, bodies, released, releasedBefore } = this;
    const lists = [puts, removals, ranges, bodies, released, releasedBefore];
    return lists.every(({ length }) => length === 0);
  }
}

/** Named instants of a commit, for tests that kill the process there. */
export type CrashPoint = 'before-write' | 'after-write' | 'after-sync' | 'after-commit' | 'during-trim';

export interface StoreHealth {
  readonly state: 'ok' | 'full' | 'failed';
  /** For people; empty when ok. */
  readonly problem: string;
}

export interface StoreStats {
  readonly diskBytes: number;
  readonly freeBytes: number;
  readonly commits: number;
  readonly changes: number;
  /** Bytes of bodies that rows refer to, by log. */
  readonly bodyBytes: ReadonlyMap<string, number>;
}

export interface Store {
  /** 16 bytes that name this store; a restored backup has others. */
  readonly id: Buffer;
  /** When it was restored from a backup, epoch milliseconds; 0: never. */
  readonly restoredMs: number;
  readonly health: StoreHealth;
  /** Hears of each change of health. Returns the way to stop that. */
  onHealth(listener: (health: StoreHealth) => void): () => void;

  /** Rejects with STORE_DAMAGED when the row is not what was written. */
  get(table: Table, key: Buffer): Promise<Buffer | undefined>;
  /** At most `limit` rows in order, damaged ones among them. Page on from the last key. */
  scan(table: Table, options: ScanOptions): Promise<Row[]>;

  /** A place for a body at the end of a log. To be used by the next change that is committed, or wasted. */
  reserve(log: string, length: number): BodyRef;
  /** Reads a body and checks its SHA-256. Throws BODY_UNREADABLE when it is not there, too short, or not what was written. */
  read(ref: BodyRef, sha256: Uint8Array): Promise<Buffer>;

  /**
   * Makes a change durable: on stable storage when it resolves. Changes are committed in the order of the calls; many share one sync.
   *
   * Rejects with STORE_FULL, STORE_READ_ONLY or STORE_FAILED, and then nothing of it was done. When one rejects, every change that was handed in
   * before its rejection was delivered rejects too, in order: callers then put their memory back to what is committed, and go on.
   * Who hands it in again waits a moment first. A change that could never be stored (too long a key, a body of another length than reserved)
   * rejects with a RangeError, and others are not touched by that.
   * One that is patient may wait some milliseconds for others to share their sync; until then a crash takes it away as if it were under way.
   * An empty one writes nothing: it resolves after those before it, and ends their patience.
   * A change without bodies is taken as long as the disk can take anything, so that acknowledging and trimming go on when it is full.
   */
  commit(change: Change, options?: { readonly patient?: boolean }): Promise<void>;

  stats(): Promise<StoreStats>;
  close(): Promise<void>;
}
