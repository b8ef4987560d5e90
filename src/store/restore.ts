import { mkdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { FedgateError } from '../errors.js';
import { Bodies, syncFolder } from './bodies.js';
import { besides, copySynced, sizeOf, syncFile, syncParent } from './copy.js';
import { storeFailure } from './failures.js';
import { type Identity, writeIdentity } from './identity.js';
import { takeLock } from './lock.js';
import { bodiesFolder, openRows, rowsFolder } from './open.js';

export interface RestoreOptions {
  /** Replaces a store that is there. @default false */
  readonly force?: boolean | undefined;
  /** @default now */
  readonly nowMs?: number | undefined;
}

/**
 * Puts a copy of a backup where the store of a gateway is to be. It gets a new id and says when it was restored: whoever numbers something
 * by this store knows from that to begin anew, because what was written after the backup is forgotten. The backup stays as it is.
 *
 * Throws STORE_LOCKED while a process uses the folder, FILE_UNUSABLE when a store is there and `force` is not set, STORE_DAMAGED for a
 * backup that is none. The store appears when complete; until then an earlier one stays.
 */
export async function restoreStore(
  backup: string,
  folder: string,
  { force = false, nowMs = Date.now() }: RestoreOptions = {},
): Promise<Identity> {
  const place = resolve(folder);
  try {
    if (!force && (await holdsStore(place))) throw occupied(folder);
    await mkdir(place, { recursive: true, mode: 0o700 });
    // Held until the folder is replaced, so that no gateway starts in between; the file goes with the old folder.
    const lock = await takeLock(place);
    const draft = besides(place, 'partial');
    try {
      const identity = await copyTo(draft, backup, nowMs);
      const old = besides(place, 'old');
      await rename(place, old);
      await rename(draft, place);
      await syncParent(place);
      await rm(old, { recursive: true });
      return identity;
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw storeFailure(error, 'the backup was not restored');
  }
}

const occupied = (folder: string): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${folder} holds a store already; it is replaced only when forced`);

async function holdsStore(folder: string): Promise<boolean> {
  return (
    (await sizeOf(join(rowsFolder(folder), 'data.mdb'))) !== undefined ||
    (await new Bodies(bodiesFolder(folder)).list()).length > 0
  );
}

async function copyTo(draft: string, backup: string, nowMs: number): Promise<Identity> {
  const from = new Bodies(bodiesFolder(backup));
  const to = new Bodies(bodiesFolder(draft));
  // A backup that is none is found out before anything is copied.
  await (await openRows(backup, { readOnly: true })).close();
  await mkdir(bodiesFolder(draft), { recursive: true, mode: 0o700 });
  await mkdir(rowsFolder(draft), { mode: 0o700 });
  for (const id of await from.list()) {
    await mkdir(join(bodiesFolder(draft), id.log), { recursive: true, mode: 0o700 });
    await copySynced(from.path(id), to.path(id));
    await syncFolder(join(bodiesFolder(draft), id.log));
  }
  await copySynced(join(rowsFolder(backup), 'data.mdb'), join(rowsFolder(draft), 'data.mdb'));
  const rows = await openRows(draft);
  try {
    return await writeIdentity(rows, nowMs);
  } finally {
    await rows.close();
    for (const path of [rowsFolder(draft), bodiesFolder(draft), draft]) await syncFolder(path);
    await syncFile(join(rowsFolder(draft), 'data.mdb'));
  }
}
