import { mkdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ABORT, open, type RootDatabase } from 'lmdb';
import { describe, FedgateError } from '../errors.js';
import { checkedRow, withChecksum } from './checked-row.js';
import { RETRY_MS, storeFailure } from './failures.js';
import { damaged } from './rows-file.js';
import type { KeyRange, Row, ScanOptions, Table } from './store.js';

type Env = RootDatabase<Buffer, Buffer>;

/** LMDB searches at most sixty entries of its list of free pages for each page that it needs in a row: with this, all that there are. */
const SEARCHED_BYTES = 16 * 1024 * 1024;

/** LMDB takes keys of 1978 bytes; the table's name and a zero byte come before the caller's. */
const MAX_KEY_BYTES = 1978;

const TABLE_NAME = /^\$?[a-z][a-z-]{0,63}$/;
const prefixes = new Map<Table, Buffer>();

/** Tables are named by the code, never by a caller from outside: there are few of them. */
function prefixOf(table: Table): Buffer {
  let prefix = prefixes.get(table);
  if (!prefix) {
    if (!TABLE_NAME.test(table)) throw new RangeError(`not the name of a table: ${table}`);
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
  /** Undefined: closed, or it could not be opened again after a failure. The next write tries to. */
  #env: Env | undefined;
  /** False after a failure, until it is opened again, and when it is only read. */
  #writable: boolean;
  readonly #opensForWriting: boolean;
  /** Set while the environment is closed and opened again. */
  #reopening: Promise<void> | undefined;

  private constructor(path: string, env: Env, writable: boolean) {
    this.#path = path;
    this.#env = env;
    this.#writable = writable;
    this.#opensForWriting = writable;
  }

  /** Opens or makes the environment. Throws what LMDB or the file system says. */
  static async open(path: string, { readOnly = false } = {}): Promise<Rows> {
    if (!readOnly) {
      await mkdir(path, { recursive: true, mode: 0o700 });
      await demandWritable(path);
    }
    await demandLockFile(path, readOnly);
    return new Rows(path, open<Buffer, Buffer>(options(path, readOnly)), !readOnly);
  }

  /** Rejects with STORE_DAMAGED for a row that is not what was written. */
  async get(table: Table, key: Buffer): Promise<Buffer | undefined> {
    if (this.#reopening !== undefined) await this.#reopening;
    const full = fullKey(table, key);
    const stored = this.#reading(env => env.getBinary(full));
    return stored && checkedRow(table, full, stored).value;
  }

  async scan(table: Table, { limit, reverse = false, ...range }: ScanOptions): Promise<Row[]> {
    if (this.#reopening !== undefined) await this.#reopening;
    const { start, end } = bounds(table, range);
    if (Buffer.compare(start, end) >= 0) return [];
    return this.#reading(env => {
      const found = reverse
        ? env.getRange({ start: end, exclusiveStart: true, end: start, inclusiveEnd: true, reverse, limit })
        : env.getRange({ start, end, limit });
      return Array.from(found, ({ key, value }) => checkedRow(table, key, value));
    });
  }

  /** Names of the tables, sorted. */
  tables(): Table[] {
    const names: Table[] = [];
    let start: Buffer = Buffer.of(0);
    while (true) {
      const [next] = this.#reading(env => [...env.getKeys({ start, limit: 1 })]);
      if (!next) return names;
      const name = next.toString('latin1', 0, next.indexOf(0));
      if (!TABLE_NAME.test(name)) throw damaged(`a row has key ${next.toString('hex')}, which is of no table`);
      names.push(name);
      start = bounds(name, {}).end;
    }
  }

  /** Touches every page that is in use. Throws when LMDB finds one that is not what it should be. */
  readAll(): void {
    this.#reading(env => {
      for (const { value } of env.getRange({ start: Buffer.of(0) })) value.at(-1);
      env.getStats();
    });
  }

  /** Has LMDB go through its list of free pages, as it does to write: it looks for more room in a row than there is. Changes nothing. */
  searchFree(): void {
    const env = this.#open;
    env.transactionSync(() => {
      env.putSync(Buffer.from('$search\0'), Buffer.alloc(SEARCHED_BYTES));
      return ABORT;
    });
  }

  /**
   * Carries out one transaction; resolves when it is synced. Throws STORE_*; nothing of it was done then. One at a time.
   *
   * After a failure the environment is opened again before the next write: LMDB never writes again in one whose head could not be written,
   * and its binding would wait for that for ever. What can still be read goes on being read.
   */
  async write(fill: (writer: RowWriter) => void): Promise<void> {
    try {
      if (!this.#writable) await this.#reopen();
      const env = this.#open;
      await env.batch(() => fill(writerOf(env)));
    } catch (error) {
      this.#writable = false;
      throw storeFailure(await commitError(error), 'the rows were not written');
    }
  }

  /** A consistent copy of all rows as a new environment, while writes go on. */
  async backup(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await this.#open.backup(path, false);
  }

  async close(): Promise<void> {
    await this.#reopening;
    const env = this.#env;
    this.#env = undefined;
    await env?.close();
  }

  get #open(): Env {
    if (this.#env) return this.#env;
    throw new FedgateError('STORE_FAILED', 'the rows are not open', { retryAfterMs: RETRY_MS });
  }

  /** Throws STORE_DAMAGED for whatever LMDB says while it reads. */
  #reading<T>(read: (env: Env) => T): T {
    const env = this.#open;
    try {
      return read(env);
    } catch (error) {
      // LMDB may refuse to read as well once its head could not be written: that passes, and nothing is known to be damaged.
      if (!this.#writable && this.#opensForWriting) throw storeFailure(error, 'the rows cannot be read now');
      throw damaged(`the rows cannot be read: ${describe(error)}`, error);
    }
  }

  /** Opens for writing, or else for reading only. Throws when it cannot be written. Readers wait meanwhile. */
  async #reopen(): Promise<void> {
    await demandWritable(this.#path);
    const reopening = this.#closeAndOpen();
    this.#reopening = reopening.catch(() => undefined);
    try {
      await reopening;
    } finally {
      this.#reopening = undefined;
    }
  }

  async #closeAndOpen(): Promise<void> {
    const env = this.#env;
    this.#env = undefined;
    await env?.close();
    try {
      this.#env = open<Buffer, Buffer>(options(this.#path, false));
      this.#writable = true;
    } catch (error) {
      this.#env = open<Buffer, Buffer>(options(this.#path, true));
      throw error;
    }
  }
}

/**
 * Throws when files cannot be written here: opening LMDB for writing would then end the process. A full disk is none of that, since LMDB
 * goes on in pages it has.
 */
async function demandWritable(path: string): Promise<void> {
  const probe = join(path, 'probe');
  try {
    await writeFile(probe, 'x', { flush: true });
    await unlink(probe);
  } catch (error) {
    if (storeFailure(error, '').reason !== 'STORE_FULL') throw error;
    await unlink(probe).catch(() => undefined);
  }
}

/** LMDB's own file for the locks of all who use its rows, with room for some 180 readers. */
const LOCK_FILE_BYTES = 12 * 1024;

/**
 * Throws when there is no such file and it cannot be made whole. LMDB would make one with a hole, and touching that in its map ends the
 * process when the disk is full. One that is there has its first page, with which LMDB gets along.
 */
async function demandLockFile(folder: string, readOnly: boolean): Promise<void> {
  const path = join(folder, 'lock.mdb');
  try {
    await writeFile(path, Buffer.alloc(LOCK_FILE_BYTES), { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    if (storeFailure(error, '').reason === 'STORE_FULL') {
      await unlink(path).catch(() => undefined);
      throw error;
    }
    // A folder that can only be read is read without locks.
    if (!readOnly) throw error;
  }
}

const writerOf = (env: Env): RowWriter => ({
  put: (table, key, value) => {
    const full = fullKey(table, key);
    void env.put(full, withChecksum(full, value));
  },
  remove: (table, key) => void env.remove(fullKey(table, key)),
  removeRange: (table, range) => {
    const { start, end } = bounds(table, range);
    if (Buffer.compare(start, end) >= 0) return;
    for (const key of [...env.getKeys({ start, end })]) void env.remove(key);
  },
});

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
