import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FedgateError } from '../errors.js';
import { syncFolder } from './bodies.js';

/** A folder next to another, to be filled and then put in its place by renaming. */
export const besides = (folder: string, what: string): string => `${folder}.${what}-${randomBytes(6).toString('hex')}`;

/** Copies a file to stable storage, sharing its blocks where the file system can. */
export async function copySynced(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  await syncFile(to);
}

export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a rename last. */
export const syncParent = (path: string): Promise<void> => syncFolder(dirname(join(path, '.')));

export const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );

/** Throws FILE_UNUSABLE unless nothing is there, or an empty folder. */
export async function demandAbsent(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new FedgateError('FILE_UNUSABLE', `${folder} is no folder`, { cause: error });
  });
  if (names.length > 0) throw new FedgateError('FILE_UNUSABLE', `${folder} is not empty`);
}
