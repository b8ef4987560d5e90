import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, FedgateError, quoted } from '../../errors.js';
import type { ListedChecksum } from '../checksum-list.js';
import { measureFile } from './measure.js';

/** What is told one by one. */
const MAX_TOLD = 10;

/**
 * Compares a folder with a checksum list: the same files, no more and no fewer, with the same content. Returns what is wrong; nothing when it is
 * the package. Throws FILE_UNUSABLE and FILE_CHANGED.
 */
export async function checkPackageFolder(folder: string, list: readonly ListedChecksum[]): Promise<readonly string[]> {
  const problems: string[] = [];
  const listed = new Map(list.map(({ path, sha256 }) => [path, sha256]));
  for await (const { path, isFile } of walk(folder, '')) {
    const expected = listed.get(path);
    listed.delete(path);
    if (expected === undefined) problems.push(`${quoted(path)} is not on the list`);
    else if (!isFile) problems.push(`${quoted(path)} is not a regular file`);
    else if ((await measureFile(join(folder, path), undefined, { noLinks: true })).sha256 !== expected) {
      problems.push(`${quoted(path)} is another file than the one on the list`);
    }
  }
  for (const path of listed.keys()) problems.push(`${quoted(path)} is missing`);
  const more = problems.length - MAX_TOLD;
  return more > 0 ? [...problems.slice(0, MAX_TOLD), `and ${more} more`] : problems;
}

/** Everything in a folder but folders; symbolic links are not followed. */
async function* walk(folder: string, within: string): AsyncGenerator<{ path: string; isFile: boolean }> {
  const entries = await readdir(join(folder, within), { withFileTypes: true }).catch(cause => {
    throw new FedgateError('FILE_UNUSABLE', `${join(folder, within)}: ${describe(cause)}`, { cause });
  });
  for (const entry of entries) {
    const path = within === '' ? entry.name : `${within}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(folder, path);
    else yield { path, isFile: entry.isFile() };
  }
}
