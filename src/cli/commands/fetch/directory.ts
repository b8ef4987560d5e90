import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { FedgateClient, SharedFile } from '../../../client/index.js';
import { FedgateError, quoted } from '../../../errors.js';
import { plural } from '../../counts.js';
import { type ListedFile, MAX_LISTING_BYTES, orgOfShare, parseListing } from '../../directory-listing.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { foldersOf } from '../../file-names.js';
import { formatBytes } from '../../progress.js';
import type { TransferNotes } from '../../transfer-notes.js';
import { type FetchWish, fetchOne, tellFetched } from './file.js';

/**
 * Fetches a folder: its listing first, then each file that is not there yet. Nothing is written but beneath the target. Throws FILE_UNUSABLE for a
 * listing that is none or a place that cannot be written, FILE_CHANGED for a share that is not the file that the listing says.
 */
export async function fetchDirectory(
  env: CliEnv,
  client: FedgateClient,
  notes: TransferNotes,
  share: SharedFile,
  target: string,
  wish: FetchWish,
): Promise<void> {
  const files = await readListing(env, client, notes, share, target);
  await makeFolder(target);
  let bytes = 0;
  for (const file of files) {
    for (const folder of foldersOf(file.path)) await makeFolder(join(target, folder));
    await fetchListed(env, client, file, join(target, file.path), wish);
    bytes += file.size;
  }
  const { json } = wish;
  if (json) return printJson(env, { event: 'complete', share: share.id, path: target, files: files.length, bytes });
  say(env, `${target}: ${plural(files.length, 'file')}, ${formatBytes(bytes)}`);
}

/** One that goes on is the same download, so that it counts once. */
async function readListing(
  env: CliEnv,
  client: FedgateClient,
  notes: TransferNotes,
  { id, size }: SharedFile,
  target: string,
): Promise<readonly ListedFile[]> {
  if (size > MAX_LISTING_BYTES)
    throw new FedgateError('FILE_UNUSABLE', `the listing of the folder has ${size} bytes, more than are read`);
  const { id: downloadId } = await notes.recall(['download', id, resolve(target)]);
  const parts: Buffer[] = [];
  for await (const part of await client.fetchStream(id, { downloadId, signal: env.signal })) parts.push(part);
  return parseListing(Buffer.concat(parts), orgOfShare(id));
}

async function fetchListed(
  env: CliEnv,
  client: FedgateClient,
  { share, size, sha256 }: ListedFile,
  path: string,
  wish: FetchWish,
): Promise<void> {
  // An earlier run may have fetched it.
  if (await isThere(path, size, sha256)) return tellFetched(env, wish.json, { share, path, size, sha256 });
  const known = await client.getShare(share);
  if (known.size !== size || known.sha256 !== sha256)
    throw new FedgateError('FILE_CHANGED', `${quoted(path)}: the share is not the file that the listing says`);
  await fetchOne(env, client, share, path, wish);
}

/** Makes a folder unless it is one. What leads elsewhere is none. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (cause) {
    const stats = await lstat(path).catch(() => undefined);
    if (!stats?.isDirectory())
      throw new FedgateError('FILE_UNUSABLE', `${path}: a folder cannot be made there`, { cause });
  }
}

async function isThere(path: string, size: number, sha256: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isFile() || stats.size !== size) return false;
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex') === sha256;
}
