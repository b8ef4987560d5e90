import { mkdir } from 'node:fs/promises';
import { open, type RootDatabase } from 'lmdb';
import { describe } from '../errors.js';
import { storeFailure } from './failures.js';
import { damaged } from './rows-file.js';
import type { KeyRange, Row, ScanOptions, Table } from './store.js';

type Env = RootDatabase<Buffer, Buffer>;

/** LMDB takes keys of 1978 bytes; the table's name and a zero byte come before the caller's. */
const MAX_KEY_BYTES = 1978;

const prefixes = new Map<Table, Buffer>();

/** Tables are named by the code, never by a caller from outside: there are few of them. */
function prefixOf(table: Table): Buffer {
  let prefix = prefixes.get(table);
  if (!prefix) {
    if (!/^\$?[a-z][a-z-]{0,63}$/.test(table)) throw new RangeError(`not the name of a table: ${table}`);
    prefix = Buffer.from(`${table}\0`);
    prefixes.set(table, prefix);
  }
  return prefix;
}

const fullKey = (table: Table, key: Buffer): Buffer => Buffer.concat([prefixOf(table), key]);

/** Throws a RangeError for a key that cannot be stored. Within a transaction it would be too late. */
export function checkKey(table: Table, key: Buffer): void {
  if (prefixOf(table).length + key.length > MAX_KEY_BYTES) {
    throw new RangeError(`a key of ${key.length} bytes is too long`);
  }
}

function bounds(table: Table, { from, to }: KeyRange): { readonly start: Buffer; readonly end: Buffer } {
  const prefix = prefixOf(table);
  const start = from ? fullKey(table, from) : prefix;
  if (to) return { start, end: fullKey(table, to) };
  // One byte after the zero that ends the table's name.
  const end = Buffer.from(prefix);
  end[end.length - 1] = 1;
  return { start, end };
}

/** Writes of one transaction, in order. */
export interface RowWriter {
  put(table: Table, key: Buffer, value: Buffer): void;
  remove(table: Table, key: Buffer): void;
  /** Removes what is committed of a range. Reads it through at once, so it should be thousands of rows, not millions. */
  removeRange(table: Table, range: KeyRange): void;
}

/** Options of every env: without overlapping sync a write resolves only once it is synced; keys and values are ours to define. */
const options = (path: string, readOnly: boolean) => ({
  path,
  encoding: 'binary' as const,
  keyEncoding: 'binary' as const,
  overlappingSync: false,
  // A batch then starts when it is complete. Otherwise the writing thread starts at its first row and waits, polling, for the rest.
  eventTurnBatching: false,
  readOnly,
});

/** Rows in an LMDB environment: read at once from what is committed, written in transactions that are synced. */
export class Rows {
  readonly #path: string;
  #env: Env;
  /** Set while the environment is closed and opened again. */
  #reopening: Promise<void> | undefined;

  private constructor(path: string, env: Env) {
    this.#path = path;
    this.#env = env;
  }

  /** Opens or makes the environment. Throws what LMDB or the file system says. */
  static async open(path: string, { readOnly = false } = {}): Promise<Rows> {
    if (!readOnly) await mkdir(path, { recursive: true, mode: 0o700 });
    return new Rows(path, open<Buffer, Buffer>(options(path, readOnly)));
  }

  async get(table: Table, key: Buffer): Promise<Buffer | undefined> {
    if (this.#reopening !== undefined) await this.#reopening;
    return reading(() => this.#env.getBinary(fullKey(table, key)));
  }

  async scan(table: Table, { limit, reverse = false, ...range }: ScanOptions): Promise<Row[]> {
    if (this.#reopening !== undefined) await this.#reopening;
    const { start, end } = bounds(table, range);
    if (Buffer.compare(start, end) >= 0) return [];
    const skip = prefixOf(table).length;
    return reading(() => {
      const found = reverse
        ? this.#env.getRange({ start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse, limit })
        : this.#env.getRange({ start, end, limit });
      return Array.from(found, ({ key, value }) => ({ key: key.subarray(skip), value }));
    });
  }

  /** Names of the tables, sorted. */
  tables(): Table[] {
    const names: Table[] = [];
    let start: Buffer = Buffer.of(0);
    while (true) {
      const [next] = reading(() => [...this.#env.getKeys({ start, limit: 1 })]);
      if (!next) return names;
      const name = next.toString('latin1', 0, next.indexOf(0));
      names.push(name);
      start = bounds(name, {}).end;
    }
  }

  /** Touches every page that is in use. Throws when LMDB finds one that is not what it should be. */
  readAll(): void {
    for (const { value } of this.#env.getRange({ start: Buffer.of(0) })) value.at(-1);
    this.#env.getStats();
  }

  /**
   * Carries out one transaction; resolves when it is synced. Throws STORE_*; nothing of it was done then. After a failure the environment
   * is opened again: LMDB refuses everything once a meta page could not be written. One at a time.
   */
  async write(fill: (writer: RowWriter) => void): Promise<void> {
    const env = this.#env;
    try {
      await env.batch(() =>
        fill({
          put: (table, key, value) => void env.put(fullKey(table, key), value),
          remove: (table, key) => void env.remove(fullKey(table, key)),
          removeRange: (table, range) => {
            const { start, end } = bounds(table, range);
            if (Buffer.compare(start, end) >= 0) return;
            for (const key of [...env.getKeys({ start, end })]) void env.remove(key);
          },
        }),
      );
    } catch (error) {
      const cause = await commitError(error);
      await this.#reopen();
      throw storeFailure(cause, 'the rows were not written');
    }
  }

  /** A consistent copy of all rows as a new environment, while writes go on. */
  async backup(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await this.#env.backup(path, false);
  }

  async close(): Promise<void> {
    await this.#reopening;
    await this.#env.close();
  }

  async #reopen(): Promise<void> {
    const reopening = (async () => {
      await this.#env.close();
      this.#env = open<Buffer, Buffer>(options(this.#path, false));
    })();
    this.#reopening = reopening;
    try {
      await reopening;
    } finally {
      this.#reopening = undefined;
    }
  }
}

/** Throws STORE_DAMAGED for whatever LMDB says while it reads. */
function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw damaged(`the rows cannot be read: ${describe(error)}`, error);
  }
}

/** LMDB rejects with a general error that holds a promise of the true one. */
async function commitError(error: unknown): Promise<unknown> {
  if (!(error instanceof Error && 'commitError' in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}
