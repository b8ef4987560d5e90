import { lstat, mkdir } from 'node:fs/promises';
import { measureFile } from '../approvals/verify/measure.js';
import { describe, FedgateError } from '../errors.js';

/** What a regular file holds, which is read once. */
export interface FileDigest {
  readonly size: number;
  readonly sha256: string;
}

/** Undefined: there is no regular file; a symbolic link is none. Throws FILE_UNUSABLE for one that cannot be read, and FILE_CHANGED. */
export async function digestOfFile(path: string): Promise<FileDigest | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isFile()) return undefined;
  const { size, sha256 = '' } = await measureFile(path, undefined, { noLinks: true });
  return { size, sha256 };
}

/** Makes a folder unless it is one. What leads elsewhere is none. Throws FILE_UNUSABLE. */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (cause) {
    const stats = await lstat(path).catch(() => undefined);
    if (stats?.isDirectory()) return;
    const why = stats?.isSymbolicLink() ? 'it is a symbolic link, which is not followed' : describe(cause);
    throw new FedgateError('FILE_UNUSABLE', `${path}: a folder cannot be made there: ${why}`, { cause });
  }
}
