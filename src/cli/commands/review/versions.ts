import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseChecksumList } from '../../../approvals/checksum-list.js';
import { MAX_LIST_BYTES } from '../../../approvals/statement/rules.js';
import { type CheckedStatement, checkedStatement } from '../../../client/approvals/ballot.js';
import type { FedgateClient, Proposal } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import type { ListedFile } from '../../directory-listing.js';
import type { CliEnv } from '../../env.js';
import { fetchBytes, fetchListing } from '../../fetch-checked.js';
import { MAX_TEXT_BYTES, textOf, type Version } from './changes.js';
import type { ReviewFolder } from './folder.js';

/** What is proposed, as it lies in the folder of its review. */
export async function proposedVersion({ facts }: CheckedStatement, folder: ReviewFolder): Promise<Version> {
  const { name, kind, sha256 } = facts.artifact;
  const files = kind === 'file' ? [{ path: name, sha256 }] : await folder.list();
  return {
    files: new Map(files.map(file => [file.path, file.sha256])),
    async text(path) {
      const file = kind === 'file' ? folder.artifact : join(folder.contents, path);
      const { size } = await stat(file);
      return size > MAX_TEXT_BYTES ? undefined : textOf(await readFile(file));
    },
  };
}

/** A version that was approved before, from its shares. Throws what fetching throws; nothing of it is written to disk. */
export async function approvedVersion(
  env: CliEnv,
  client: FedgateClient,
  proposal: Proposal,
  proposed: CheckedStatement,
): Promise<Version> {
  const checked = checkedStatement(proposal);
  const { name, kind, sha256, size } = checked.facts.artifact;
  const fetchText = async (share: string, what: string, digest: string, bytes: number): Promise<string | undefined> =>
    bytes > MAX_TEXT_BYTES
      ? undefined
      : textOf(await fetchBytes(env, client, share, { what, sha256: digest }, MAX_TEXT_BYTES));
  if (kind === 'file') {
    // Two files are compared whatever their names are.
    const path = proposed.facts.artifact.kind === 'file' ? proposed.facts.artifact.name : name;
    return { files: new Map([[path, sha256]]), text: () => fetchText(proposal.artifact.share, name, sha256, size) };
  }
  const list = await fetchBytes(env, client, proposal.artifact.share, { what: name, sha256 }, MAX_LIST_BYTES);
  const files = new Map(parseChecksumList(list).map(file => [file.path, file.sha256]));
  let shares: Promise<ReadonlyMap<string, ListedFile>> | undefined;
  return {
    files,
    async text(path) {
      shares ??= sharesOf(env, client, proposal);
      const shared = (await shares).get(path);
      if (!shared) throw new FedgateError('SHARE_UNKNOWN', `its folder does not share ${path} any more`);
      return fetchText(shared.share, path, files.get(path) ?? '', shared.size);
    },
  };
}

async function sharesOf(
  env: CliEnv,
  client: FedgateClient,
  { artifact }: Proposal,
): Promise<ReadonlyMap<string, ListedFile>> {
  const listing = await fetchListing(env, client, artifact.contentsShare ?? '');
  return new Map(listing.map(file => [file.path, file]));
}
