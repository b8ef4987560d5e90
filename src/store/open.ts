import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from '../errors.js';
import { Bodies } from './bodies.js';
import { type CrashAt, passages } from './crash.js';
import { DiskStore } from './disk-store.js';
import { storeFailure } from './failures.js';
import { openIdentity } from './identity.js';
import { takeLock } from './lock.js';
import { BODY_TABLE, numberAfter, ROW_BODY_BYTES } from './row-bodies.js';
import { Rows } from './rows.js';
import { checkRowsFile, damaged } from './rows-file.js';
import { SEGMENT_TABLE, Segments, segmentOfRow } from './segments.js';
import type { Row, Store, Table } from './store.js';

/** A segment is read, backed up and removed as a whole: large enough to be few, small enough to be freed soon. */
const SEGMENT_BYTES = 16 * 1024 * 1024;

export interface StoreOptions {
  /** Free disk space that bodies leave alone, so that acknowledging and trimming go on when the disk is full. */
  readonly reserveBytes: number;
  /** @default 16 MiB */
  readonly segmentBytes?: number | undefined;
  /** Bodies up to this are rows. @default ROW_BODY_BYTES */
  readonly rowBodyBytes?: number | undefined;
  /** For tests: where the process is to kill itself. */
  readonly crashAt?: CrashAt | undefined;
}

export const rowsFolder = (folder: string): string => join(folder, 'rows');
export const bodiesFolder = (folder: string): string => join(folder, 'bodies');

/**
 * Opens or makes the store in a folder, for this process alone. The caller closes it.
 *
 * Throws STORE_LOCKED while another living process has it, STORE_DAMAGED when it cannot be read, and STORE_READ_ONLY or STORE_FAILED when the
 * folder cannot be written to. One that is there is opened also when not a byte of the disk is free: its health says so. One that is new,
 * or whose `rows/lock.mdb` is gone, cannot be made then: STORE_FULL. What a crash left behind without any row that refers to it is removed.
 */
export async function openStore(folder: string, options: StoreOptions): Promise<Store> {
  const lock = await attempt(async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await takeLock(folder);
  });
  try {
    const rows = await openRows(folder);
    try {
      return await attempt(async () => {
        const identity = await openIdentity(rows);
        const { segmentBytes = SEGMENT_BYTES, rowBodyBytes = ROW_BODY_BYTES } = options;
        const [lastBody] = await rows.scan(BODY_TABLE, { limit: 1, reverse: true });
        const segments = new Segments({ segmentBytes, rowBodyBytes, nextRowBody: numberAfter(lastBody) });
        await eachRow(rows, SEGMENT_TABLE, row => segments.load(segmentOfRow(row)));
        const bodies = await openBodies(folder, segments);
        const { reserveBytes } = options;
        return await DiskStore.open({
          ...{ folder, identity, lock, rows, segments, bodies, reserveBytes },
          pass: passages(options.crashAt),
        });
      });
    } catch (error) {
      await rows.close();
      throw error;
    }
  } catch (error) {
    await lock.release();
    throw error;
  }
}

const attempt = async <T>(run: () => Promise<T>): Promise<T> => {
  try {
    return await run();
  } catch (error) {
    throw storeFailure(error, 'the store cannot be opened');
  }
};

/** Opens the rows of a store. Throws STORE_DAMAGED with what is wrong, STORE_READ_ONLY and the like when it is not the rows. */
export async function openRows(folder: string, { readOnly = false } = {}): Promise<Rows> {
  const known = await attempt(() => checkRowsFile(rowsFolder(folder), readOnly));
  if (!known) {
    // Without rows all bodies would be garbage. Rather nothing is opened than all of it swept.
    const bodies = await new Bodies(bodiesFolder(folder)).list();
    if (bodies.length > 0 || readOnly) throw damaged('rows/data.mdb is missing or empty');
  }
  try {
    return await Rows.open(rowsFolder(folder), { readOnly });
  } catch (error) {
    const failure = storeFailure(error, 'the store cannot be opened');
    if (failure.reason !== 'STORE_FAILED') throw failure;
    throw damaged(`the rows cannot be opened: ${describe(error)}`, error);
  }
}

/** Removes segment files that no row needs: bodies whose commit never came, and files whose removal was cut short. */
async function openBodies(folder: string, segments: Segments): Promise<Bodies> {
  await mkdir(bodiesFolder(folder), { recursive: true, mode: 0o700 });
  const bodies = new Bodies(bodiesFolder(folder));
  for (const id of await bodies.list()) if (!segments.has(id)) await bodies.remove(id);
  return bodies;
}

/** Rows read at a time: a page of small rows is some hundreds of kilobytes. */
const PAGE_ROWS = 1000;

/** Goes through a table a page at a time. */
export async function eachRow(rows: Rows, table: Table, visit: (row: Row) => void | Promise<void>): Promise<void> {
  let from: Buffer | undefined;
  while (true) {
    const page = await rows.scan(table, { limit: PAGE_ROWS, ...(from && { from }) });
    for (const row of page) await visit(row);
    const last = page.at(-1);
    if (!last || page.length < PAGE_ROWS) return;
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}
