import { mkdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { FedgateError } from '../errors.js';
import { Bodies, syncFolder } from './bodies.js';
import { besides, copySynced, demandAbsent, sizeOf, syncFile, syncParent } from './copy.js';
import { storeFailure } from './failures.js';
import { readIdentity } from './identity.js';
import { bodiesFolder, eachRow, openRows, rowsFolder } from './open.js';
import { isRow } from './row-bodies.js';
import type { Rows } from './rows.js';
import { damaged } from './rows-file.js';
import { SEGMENT_TABLE, type SegmentId, segmentOfRow } from './segments.js';

export interface BackupProgress {
  readonly copiedBytes: number;
  readonly totalBytes: number;
}

export interface BackupReport {
  readonly segments: number;
  readonly bytes: number;
}

type Needed = SegmentId & { readonly end: number };

/** Copies of the rows that are made until one fits the bodies: a store that trims removes segments while its rows are being copied. */
const ATTEMPTS = 50;

/**
 * Copies a store while a gateway works with it, here or in another process. The target must not exist, or be empty; it appears when complete.
 *
 * Bodies first, then the rows, then the bodies that came meanwhile: segments only grow, so what the copied rows refer to is in the copy.
 * Throws STORE_DAMAGED when there is no store in the folder, FILE_UNUSABLE for the target, STORE_FULL and the like.
 */
export async function backupStore(
  folder: string,
  target: string,
  onProgress: (progress: BackupProgress) => void = () => undefined,
): Promise<BackupReport> {
  await demandAbsent(target);
  const draft = besides(resolve(target), 'partial');
  try {
    const rows = await openRows(folder, { readOnly: true });
    try {
      await mkdir(draft, { recursive: true, mode: 0o700 });
      const report = await new Backup(folder, draft, rows, onProgress).run();
      await rename(draft, target);
      await syncParent(resolve(target));
      return report;
    } finally {
      await rows.close();
    }
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw storeFailure(error, 'the backup was not made');
  }
}

class Backup {
  readonly #draft: string;
  readonly #rows: Rows;
  readonly #onProgress: (progress: BackupProgress) => void;
  readonly #source: Bodies;
  readonly #copy: Bodies;
  #copiedBytes = 0;

  constructor(folder: string, draft: string, rows: Rows, onProgress: (progress: BackupProgress) => void) {
    this.#draft = draft;
    this.#rows = rows;
    this.#onProgress = onProgress;
    this.#source = new Bodies(bodiesFolder(folder));
    this.#copy = new Bodies(bodiesFolder(draft));
  }

  async run(): Promise<BackupReport> {
    await mkdir(bodiesFolder(this.#draft), { mode: 0o700 });
    await this.#copyBodies(await neededBy(this.#rows));
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const needed = await this.#copyRows();
      if (!(await this.#copyBodies(needed))) continue;
      await this.#dropOthers(needed);
      await syncFolder(bodiesFolder(this.#draft));
      await syncFolder(this.#draft);
      return { segments: needed.length, bytes: needed.reduce((sum, { end }) => sum + end, 0) };
    }
    throw new FedgateError('STORE_FAILED', 'the store changed too quickly to be copied; try again at a quieter time');
  }

  /** Copies the rows and answers what the copy needs. It is read from the copy itself, which proves that it can be opened. */
  async #copyRows(): Promise<Needed[]> {
    const path = rowsFolder(this.#draft);
    await rm(path, { recursive: true, force: true });
    await this.#rows.backup(path);
    await syncFile(join(path, 'data.mdb'));
    await syncFolder(path);
    const copy = await openRows(this.#draft);
    try {
      if (!(await readIdentity(copy))) throw damaged('it does not say which store it is');
      return await neededBy(copy);
    } finally {
      await copy.close();
    }
  }

  /** Copies what is missing or has grown. False: a segment is gone at the source. */
  async #copyBodies(needed: readonly Needed[]): Promise<boolean> {
    const totalBytes = needed.reduce((sum, { end }) => sum + end, 0);
    let complete = true;
    // Also when there is nothing to copy: whoever listens may want to end it.
    this.#onProgress({ copiedBytes: this.#copiedBytes, totalBytes });
    for (const id of needed) {
      const to = this.#copy.path(id);
      if (((await sizeOf(to)) ?? -1) < id.end && !(await this.#copySegment(id, to))) complete = false;
      this.#onProgress({ copiedBytes: this.#copiedBytes, totalBytes: Math.max(totalBytes, this.#copiedBytes) });
    }
    return complete;
  }

  async #copySegment(id: Needed, to: string): Promise<boolean> {
    const from = this.#source.path(id);
    const size = await sizeOf(from);
    if (size === undefined) return false;
    // Cut short for good: the copy is no worse than the store, and `verify` tells of both.
    const log = join(bodiesFolder(this.#draft), id.log);
    await mkdir(log, { recursive: true, mode: 0o700 });
    try {
      await copySynced(from, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
    await syncFolder(log);
    this.#copiedBytes += size;
    return true;
  }

  async #dropOthers(needed: readonly SegmentId[]): Promise<void> {
    const keep = new Set(needed.map(id => this.#copy.path(id)));
    for (const id of await this.#copy.list()) if (!keep.has(this.#copy.path(id))) await this.#copy.remove(id);
  }
}

async function neededBy(rows: Rows): Promise<Needed[]> {
  const needed: Needed[] = [];
  await eachRow(rows, SEGMENT_TABLE, row => {
    const { log, segment, use } = segmentOfRow(row);
    if (!isRow({ segment })) needed.push({ log, segment, end: use.end });
  });
  return needed;
}
