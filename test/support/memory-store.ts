import { createHash } from 'node:crypto';
import { FedgateError } from '../../src/errors.js';
import { rowDamaged } from '../../src/store/checked-row.js';
import type {
  BodyRef,
  Change,
  KeyRange,
  Row,
  ScanOptions,
  Store,
  StoreHealth,
  StoreStats,
  Table,
} from '../../src/store/store.js';

const within = ({ from, to }: KeyRange, key: Buffer): boolean =>
  (!from || key.compare(from) >= 0) && (!to || key.compare(to) < 0);

const nameOf = ({ log, segment, offset }: BodyRef): string => `${log}/${segment}/${offset}`;

/** What a disk holds. Handed from one `MemoryStore` to the next, it survives a restart. */
export class MemoryDisk {
  readonly tables = new Map<Table, { readonly rows: Map<string, Row>; sorted: Row[] | undefined }>();
  readonly bodies = new Map<string, Buffer>();
}

/** The contract of the store, in memory: changes are committed in order, one group per turn of the event loop. */
export class MemoryStore implements Store {
  readonly id: Buffer = Buffer.alloc(16, 7);
  restoredMs = 0;
  health: StoreHealth = { state: 'ok', problem: '' };
  readonly disk: MemoryDisk;
  readonly ends = new Map<string, number>();
  /** As often as this, a group of changes is refused with STORE_FAILED. */
  failures = 0;
  commits = 0;
  reads = 0;
  #listeners = new Set<(health: StoreHealth) => void>();
  #queue: { change: Change; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #running = false;

  constructor(disk = new MemoryDisk()) {
    this.disk = disk;
    for (const [name, bytes] of disk.bodies) {
      const [log = '', , offset] = name.split('/');
      this.ends.set(log, Math.max(this.ends.get(log) ?? 0, Number(offset) + bytes.length));
    }
  }

  onHealth(listener: (health: StoreHealth) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setHealth(health: StoreHealth): void {
    this.health = health;
    for (const listener of this.#listeners) listener(health);
  }

  async get(table: Table, key: Buffer): Promise<Buffer | undefined> {
    return this.#table(table).rows.get(key.toString('latin1'))?.value;
  }

  async scan(table: Table, options: ScanOptions): Promise<Row[]> {
    const held = this.#table(table);
    held.sorted ??= [...held.rows.values()].sort((a, b) => a.key.compare(b.key));
    const { sorted } = held;
    const first = options.from ? lowerBound(sorted, options.from) : 0;
    const last = options.to ? lowerBound(sorted, options.to) : sorted.length;
    if (options.reverse) return sorted.slice(Math.max(first, last - options.limit), last).reverse();
    return sorted.slice(first, Math.min(last, first + options.limit));
  }

  reserve(log: string, length: number): BodyRef {
    const offset = this.ends.get(log) ?? 0;
    this.ends.set(log, offset + length);
    return { log, segment: 1, offset, length };
  }

  async read(ref: BodyRef, sha256: Uint8Array): Promise<Buffer> {
    this.reads++;
    const bytes = this.disk.bodies.get(nameOf(ref));
    if (!bytes || !createHash('sha256').update(bytes).digest().equals(sha256)) {
      throw new FedgateError('BODY_UNREADABLE', 'the body is not what was written');
    }
    return bytes;
  }

  commit(change: Change): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      setImmediate(() => this.#flush());
    });
  }

  /** Flips a bit of a body. */
  damage(ref: BodyRef): void {
    const bytes = this.disk.bodies.get(nameOf(ref));
    if (!bytes) throw new RangeError('no such body');
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(0) ^ 1, 0);
    this.disk.bodies.set(nameOf(ref), damaged);
  }

  /** Flips a bit of a row: it is never read again. */
  damageRow(table: Table, key: Buffer): void {
    const held = this.#table(table);
    const name = key.toString('latin1');
    if (!held.rows.has(name)) throw new RangeError('no such row');
    held.rows.set(name, {
      key: Buffer.from(key),
      get value(): never {
        throw rowDamaged(table, key);
      },
      damaged: true,
    });
    held.sorted = undefined;
  }

  async stats(): Promise<StoreStats> {
    const bodyBytes = new Map<string, number>();
    for (const [name, bytes] of this.disk.bodies) {
      const log = name.split('/')[0] ?? '';
      bodyBytes.set(log, (bodyBytes.get(log) ?? 0) + bytes.length);
    }
    return { diskBytes: 0, freeBytes: 0, commits: this.commits, changes: 0, bodyBytes };
  }

  async close(): Promise<void> {
    while (this.#running) await new Promise(resolve => setImmediate(resolve));
  }

  #flush(): void {
    const group = this.#queue;
    this.#queue = [];
    this.#running = false;
    if (this.failures > 0) {
      this.failures--;
      const error = new FedgateError('STORE_FAILED', 'the disk failed');
      for (const { reject } of group) reject(error);
      return;
    }
    this.commits++;
    for (const { change, resolve } of group) {
      this.#apply(change);
      resolve();
    }
  }

  #apply(change: Change): void {
    for (const { ref, parts } of change.bodies) this.disk.bodies.set(nameOf(ref), Buffer.concat(parts));
    for (const range of change.ranges) {
      for (const { key } of [...this.#table(range.table).rows.values()]) {
        if (within(range, key)) this.#set(range.table, key, undefined);
      }
    }
    for (const { table, key } of change.removals) this.#set(table, key, undefined);
    for (const { table, key, value } of change.puts) this.#set(table, key, value);
    for (const ref of change.released) this.disk.bodies.delete(nameOf(ref));
    for (const ref of change.releasedBefore) {
      for (const name of [...this.disk.bodies.keys()]) {
        const [log, , offset] = name.split('/');
        if (log === ref.log && Number(offset) < ref.offset) this.disk.bodies.delete(name);
      }
    }
  }

  #set(table: Table, key: Buffer, value: Buffer | undefined): void {
    const held = this.#table(table);
    const name = key.toString('latin1');
    const had = held.rows.has(name);
    if (value === undefined) held.rows.delete(name);
    else held.rows.set(name, { key: Buffer.from(key), value: Buffer.from(value), damaged: false });
    if (value === undefined ? !had : had) {
      if (value !== undefined) held.sorted = undefined;
      return;
    }
    const last = held.sorted?.at(-1);
    // Logs grow at the end: that is kept in order without sorting again.
    if (value !== undefined && held.sorted && (!last || last.key.compare(key) < 0)) {
      held.sorted.push({ key: Buffer.from(key), value: Buffer.from(value), damaged: false });
    } else held.sorted = undefined;
  }

  #table(table: Table): { readonly rows: Map<string, Row>; sorted: Row[] | undefined } {
    let held = this.disk.tables.get(table);
    if (!held) {
      held = { rows: new Map(), sorted: undefined };
      this.disk.tables.set(table, held);
    }
    return held;
  }
}

function lowerBound(rows: readonly Row[], key: Buffer): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.key.compare(key) ?? 1) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
