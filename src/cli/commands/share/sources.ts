import { lstat, readdir, stat } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { describe, FedgateError } from '../../../errors.js';
import { escapeControls } from '../../../text.js';
import { MAX_LISTED_FILES } from '../../directory-listing.js';
import { checkPaths } from '../../file-names.js';

/** A file that is to be shared, as it is now. */
export interface FileToShare {
  /** As it was given, or below the folder that was given. */
  readonly path: string;
  readonly absolute: string;
  readonly name: string;
  readonly size: number;
  readonly mtimeMs: number;
  /** Whether it may be a symbolic link: what was named by hand may. */
  readonly followLinks: boolean;
}

/** One of a folder. `listed`: its path in it, its names split by `/`. */
export type ListedToShare = FileToShare & { readonly listed: string };

export interface FolderToShare {
  readonly kind: 'directory';
  readonly path: string;
  readonly name: string;
  readonly files: readonly ListedToShare[];
}

export type ToShare =
  | { readonly kind: 'stdin' }
  | { readonly kind: 'file'; readonly file: FileToShare }
  | FolderToShare;

/** Looks at what a path is. Throws FILE_UNUSABLE, and for a folder FIELD_INVALID, naming what in it cannot be shared. */
export async function toShare(path: string): Promise<ToShare> {
  if (path === '-') return { kind: 'stdin' };
  const stats = await stat(path).catch(cause => {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw unusable(path, missing ? 'there is no such file' : describe(cause), cause);
  });
  if (!stats.isDirectory()) return { kind: 'file', file: fileOf(path, stats, true) };
  const files = await walk(path);
  checkPaths(
    files.map(({ listed }) => listed),
    escapeControls(path),
  );
  return { kind: 'directory', path, name: basename(resolve(path)), files };
}

/** All regular files below a folder, in the order of their paths. */
async function walk(root: string): Promise<ListedToShare[]> {
  const files: ListedToShare[] = [];
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(cause => {
    throw unusable(root, describe(cause), cause);
  });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    // What is not UTF-8 was read with that in its place, and is not found under it.
    if (entry.name.includes('\ufffd')) throw unusable(path, 'its name is not valid UTF-8');
    const stats = await lstat(path).catch(cause => {
      throw unusable(path, describe(cause), cause);
    });
    if (stats.isDirectory()) continue;
    if (stats.isSymbolicLink()) throw unusable(path, 'it is a symbolic link, which is not followed within a folder');
    if (!stats.isFile()) throw unusable(path, 'it is no regular file');
    const listed = relative(root, path).split(sep).join('/');
    files.push({ ...fileOf(path, stats, false), listed });
    if (files.length > MAX_LISTED_FILES) throw unusable(root, `it has more than ${MAX_LISTED_FILES} files`);
  }
  return files.sort((a, b) => (a.listed < b.listed ? -1 : 1));
}

const fileOf = (path: string, { size, mtimeMs }: { size: number; mtimeMs: number }, followLinks: boolean) => ({
  path,
  absolute: resolve(path),
  name: basename(path),
  size,
  mtimeMs,
  followLinks,
});

const unusable = (path: string, why: string, cause?: unknown): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${escapeControls(path)}: cannot be shared: ${why}`, { cause });
