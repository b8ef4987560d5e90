import { createHash } from 'node:crypto';
import { lstat, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { encodeChecksumList, parseChecksumList } from '../../../approvals/checksum-list.js';
import { checkPackageFolder } from '../../../approvals/verify/package-folder.js';
import { clearPublished } from '../../../client/files/published.js';
import type { FedgateClient, SharedFile } from '../../../client/index.js';
import { FedgateError, quoted } from '../../../errors.js';
import { forFiles } from '../../at-once.js';
import { plural } from '../../counts.js';
import { type ListedFile, MAX_LISTING_BYTES, orgOfShare, parseListing } from '../../directory-listing.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { foldersOf } from '../../file-names.js';
import { digestOfFile, makeFolder } from '../../files-on-disk.js';
import { formatBytes } from '../../progress.js';
import type { TransferNotes } from '../../transfer-notes.js';
import { FolderReport } from '../../transfer-report.js';
import type { ApprovalDemand } from './approved.js';
import { type Fetched, type FetchWish, fetchOne, tellFetched } from './file.js';

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
  const report = new FolderReport(env, wish.json, files);
  const told = new ToldInOrder(env, wish.json, report);
  const fetch = async (file: ListedFile, index: number): Promise<void> => {
    for (const folder of foldersOf(file.path)) await makeFolder(join(work, folder));
    const place = { to: join(work, file.path), shown: join(target, file.path) };
    told.put(index, await fetchListed(env, client, file, place, wish, report));
  };
  await forFiles(files, fetch, wouldMeet).finally(() => told.end());
}

/** Whether one of two files has the name of what stands beside the other while that is on its way. */
function wouldMeet(file: ListedFile, other: ListedFile): boolean {
  return file.path.startsWith(`${other.path}.part`) || other.path.startsWith(`${file.path}.part`);
}

/** Tells what is there in the order of the listing, whatever is there first. */
class ToldInOrder {
  readonly #env: CliEnv;
  readonly #json: boolean;
  readonly #report: FolderReport;
  readonly #waiting = new Map<number, Fetched>();
  #next = 0;
  #telling: Promise<void> = Promise.resolve();

  constructor(env: CliEnv, json: boolean, report: FolderReport) {
    this.#env = env;
    this.#json = json;
    this.#report = report;
  }

  put(index: number, fetched: Fetched): void {
    this.#waiting.set(index, fetched);
    for (let next = this.#waiting.get(this.#next); next; next = this.#waiting.get(this.#next)) {
      this.#waiting.delete(this.#next++);
      this.#tell(next);
    }
  }

  /** Also what is there behind one that is not. Rejects with what a telling failed with. */
  async end(): Promise<void> {
    for (const index of [...this.#waiting.keys()].sort((a, b) => a - b))
      this.#tell(this.#waiting.get(index) as Fetched);
    await this.#telling;
    this.#report.clear();
  }

  #tell(fetched: Fetched): void {
    const telling = this.#telling.then(() => {
      this.#report.clear();
      return tellFetched(this.#env, this.#json, fetched);
    });
    // Told at the end.
    telling.catch(() => undefined);
    this.#telling = telling;
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
  report: FolderReport,
): Promise<Fetched> {
  // An earlier run may have fetched it.
  if (await isThere(to, size, sha256)) {
    await clearPublished(to);
    report.skip(size);
    return { share, path: shown, size, sha256 };
  }
  const accept = (known: SharedFile): void => {
    if (known.size !== size || known.sha256 !== sha256)
      throw new FedgateError('FILE_CHANGED', `${quoted(shown)}: the share is not the file that the listing says`);
  };
  accept(await client.getShare(share));
  return fetchOne(env, client, share, { to, shown, accept }, wish, report.file({ share, path: shown }));
}

async function isThere(path: string, size: number, sha256: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isFile() || stats.size !== size) return false;
  return (await digestOfFile(path))?.sha256 === sha256;
}
