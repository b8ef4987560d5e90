import { join } from 'node:path';
import type { CheckedStatement } from '../../../client/approvals/ballot.js';
import type { FedgateClient, Proposal } from '../../../client/index.js';
import { FedgateError, quoted } from '../../../errors.js';
import type { ListedFile } from '../../directory-listing.js';
import type { CliEnv } from '../../env.js';
import { fetchChecked, fetchListing } from '../../fetch-checked.js';
import { foldersOf } from '../../file-names.js';
import { digestOfFile, makeFolder } from '../../files-on-disk.js';
import type { ReviewFolder } from './folder.js';

/**
 * Fetches what is proposed into the folder of its review; what an earlier run fetched stays. Where it comes from does not matter: what counts is
 * that it is what the statement names. Throws ARTIFACT_MISMATCH.
 */
export async function fetchReview(
  env: CliEnv,
  client: FedgateClient,
  { artifact }: Proposal,
  { facts }: CheckedStatement,
  folder: ReviewFolder,
  json: boolean,
): Promise<void> {
  const { name, size, sha256, kind } = facts.artifact;
  const fetch = async (share: string, to: string, what: string, digest: string, bytes?: number): Promise<void> => {
    if ((await digestOfFile(to))?.sha256 === digest) return;
    await fetchChecked(env, client, { share, to, json }, { what, size: bytes, sha256: digest });
  };
  await fetch(artifact.share, folder.artifact, name, sha256, size);
  if (kind === 'file') return;
  const files = await folder.list();
  const shares = await sharesOf(env, client, artifact.contentsShare);
  const listed = new Set(files.map(({ path }) => path));
  const unlisted = [...shares.keys()].find(path => !listed.has(path));
  if (unlisted !== undefined)
    throw new FedgateError(
      'ARTIFACT_MISMATCH',
      `the folder shares ${quoted(unlisted)}, and the checksum list does not name it`,
    );
  for (const { path, sha256: digest } of files) {
    const shared = shares.get(path);
    if (!shared)
      throw new FedgateError(
        'ARTIFACT_MISMATCH',
        `the checksum list names ${quoted(path)}, and the folder does not share it`,
      );
    for (const parent of foldersOf(path)) await makeFolder(join(folder.contents, parent), 0o700);
    await fetch(shared.share, join(folder.contents, path), path, digest);
  }
  await folder.checkContents();
}

async function sharesOf(
  env: CliEnv,
  client: FedgateClient,
  share: string | undefined,
): Promise<Map<string, ListedFile>> {
  if (share === undefined)
    throw new FedgateError('ARTIFACT_MISMATCH', 'the package names no share from which its files could be fetched');
  return new Map((await fetchListing(env, client, share)).map(file => [file.path, file]));
}
