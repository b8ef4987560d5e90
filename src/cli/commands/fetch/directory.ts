import { createHash } from 'node:crypto';
import { lstat, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { encodeChecksumList, parseChecksumList } from '../../../approvals/checksum-list.js';
import { checkPackageFolder } from '../../../approvals/verify/package-folder.js';
import type { FedgateClient, SharedFile } from '../../../client/index.js';
import { FedgateError, quoted } from '../../../errors.js';
import { plural } from '../../counts.js';
import { type ListedFile, MAX_LISTING_BYTES, orgOfShare, parseListing } from '../../directory-listing.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { foldersOf } from '../../file-names.js';
import { digestOfFile, makeFolder } from '../../files-on-disk.js';
import { formatBytes } from '../../progress.js';
import type { TransferNotes } from '../../transfer-notes.js';
import type { ApprovalDemand } from './approved.js';
import { type FetchWish, fetchOne, tellFetched } from './file.js';

/**
 * Fetches a folder: its listing first, then each file that is not there yet. Nothing is written but beneath the target. Throws FILE_UNUSABLE for a
 * listing that is none or a place that cannot be written, FILE_CHANGED for a share that is not the file that the listing says.
 *
 * With a demand the folder appears as a whole, when all of it is there and approved; until then it is `<target>.<digest>.part`.
 */
export async function fetchDirectory(
  env: CliEnv,
  client: FedgateClient,
  notes: TransferNotes,
  share: SharedFile,
  target: string,
  wish: FetchWish,
  demand?: ApprovalDemand,
): Promise<void> {
  const files = await readListing(env, client, notes, share, target);
  if (demand) await inOnePiece(target, files, demand, work => fetchFiles(env, client, files, { work, target }, wish));
  else await fetchFiles(env, client, files, { work: target, target }, wish);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const { json } = wish;
  if (json) return printJson(env, { event: 'complete', share: share.id, path: target, files: files.length, bytes });
  say(env, `${target}: ${plural(files.length, 'file')}, ${formatBytes(bytes)}`);
}

/** What is approved is the checksum list of the files: it is made here of what the listing says, and each file is then compared with it. */
async function inOnePiece(
  target: string,
  files: readonly ListedFile[],
  demand: ApprovalDemand,
  fetch: (work: string) => Promise<void>,
): Promise<void> {
  if (await lstat(target).catch(() => undefined))
    throw new FedgateError(
      'FILE_UNUSABLE',
      `${target}: is there already; what is approved is fetched into a new folder`,
    );
  const list = encodeChecksumList(files);
  const sha256 = createHash('sha256').update(list).digest('hex');
  await demand.check({ size: list.length, sha256 }, target, 'package');
  const work = `${target}.${sha256.slice(0, 16)}.part`;
  await makeFolder(work, 0o700);
  try {
    await fetch(work);
    const problems = await checkPackageFolder(work, parseChecksumList(list));
    if (problems.length > 0)
      throw new FedgateError('NOT_APPROVED', `${quoted(target)} is not approved: ${problems.join('; ')}`);
    await demand.check({ size: list.length, sha256 }, target, 'package');
    await rename(work, target);
  } catch (error) {
    // What may go on later stays.
    if (!(error instanceof FedgateError && (error.retryable || error.reason === 'CANCELLED')))
      await rm(work, { recursive: true, force: true });
    throw error;
  }
}

async function fetchFiles(
  env: CliEnv,
  client: FedgateClient,
  files: readonly ListedFile[],
  { work, target }: { readonly work: string; readonly target: string },
  wish: FetchWish,
): Promise<void> {
  await makeFolder(work);
  for (const file of files) {
    for (const folder of foldersOf(file.path)) await makeFolder(join(work, folder));
    await fetchListed(env, client, file, { to: join(work, file.path), shown: join(target, file.path) }, wish);
  }
}

/** What a folder that is fetched to a path is noted under. */
export const noteOf = (share: string, target: string): readonly string[] => ['download', share, resolve(target)];

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
  const { id: downloadId } = await notes.recall(noteOf(id, target));
  const parts: Buffer[] = [];
  for await (const part of await client.fetchStream(id, { downloadId, signal: env.signal })) parts.push(part);
  return parseListing(Buffer.concat(parts), orgOfShare(id));
}

async function fetchListed(
  env: CliEnv,
  client: FedgateClient,
  { share, size, sha256 }: ListedFile,
  { to, shown }: { readonly to: string; readonly shown: string },
  wish: FetchWish,
): Promise<void> {
  // An earlier run may have fetched it.
  if (await isThere(to, size, sha256)) return tellFetched(env, wish.json, { share, path: shown, size, sha256 });
  const accept = (known: SharedFile): void => {
    if (known.size !== size || known.sha256 !== sha256)
      throw new FedgateError('FILE_CHANGED', `${quoted(shown)}: the share is not the file that the listing says`);
  };
  accept(await client.getShare(share));
  await fetchOne(env, client, share, { to, shown, accept }, wish);
}

async function isThere(path: string, size: number, sha256: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isFile() || stats.size !== size) return false;
  return (await digestOfFile(path))?.sha256 === sha256;
}
