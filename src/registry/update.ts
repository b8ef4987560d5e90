import { createPrivateKey } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../errors.js';
import { readKeyAndCertificate } from '../identity/files.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import { type Membership, orgFolder, readMembership } from '../identity/org-folder.js';
import { RegistryClient } from './client.js';
import { type GatewayEndpoint, type OrgProfile, readRecord, signRecord } from './record.js';

/** What an organisation does with its own record once it is a member. */

interface OrgFolderSettings {
  /** The organisation's folder, made by `joinFederation`. */
  readonly folder: string;
  readonly signal?: AbortSignal;
}

/** Reads the organisation's own record from the registry. Throws FILE_UNUSABLE, REGISTRY_UNREACHABLE, and what the registry answers. */
export async function fetchOwnRecord({ folder, signal }: OrgFolderSettings): Promise<OrgProfile> {
  const membership = await readMembership(folder);
  return withClient(folder, membership, client => readOwn(client, membership, signal));
}

/** Signs a record with these gateways in place of the old ones and hands it to the registry. Throws as above, and RECORD_*. */
export async function updateRecord({
  folder,
  gateways,
  signal,
}: OrgFolderSettings & { readonly gateways: readonly GatewayEndpoint[] }): Promise<OrgProfile> {
  const membership = await readMembership(folder);
  const { federation, org } = membership;
  const authority = await readPair(orgFolder(folder).authority);
  return withClient(folder, membership, async client => {
    const previous = await readOwn(client, membership, signal);
    const authorities = previous.authorities.map(ca => ca.toString());
    const content = { federation, org, sequence: previous.sequence + 1n, authorities, gateways, timeMs: Date.now() };
    const next = readRecord(signRecord(content, createPrivateKey(authority.key)), federation);
    await client.putRecord(next.signed, { signal });
    return next;
  });
}

async function readOwn(
  client: RegistryClient,
  { org, federation }: Membership,
  signal?: AbortSignal,
): Promise<OrgProfile> {
  const { record } = await client.getMember(org, { signal });
  if (!record) throw new FedgateError('RECORD_INVALID', `the registry answered without a record of ${org}`);
  const profile = readRecord(record, federation);
  if (profile.org !== org)
    throw new FedgateError('RECORD_INVALID', `the registry answered with the record of ${profile.org}`);
  return profile;
}

async function withClient<T>(
  folder: string,
  { federation, registry }: Membership,
  use: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  const { addresses, certificate } = registry;
  const client = new RegistryClient({ federation, addresses, certificate, identity: await anyGateway(folder) });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** The registry lets any gateway of the organisation speak for it. */
async function anyGateway(folder: string): Promise<KeyAndCertificate> {
  const gateways = join(orgFolder(folder).gateway('.'));
  const [name] = (await readdir(gateways).catch(() => [])).sort();
  if (name === undefined)
    throw new FedgateError('FILE_UNUSABLE', `${gateways}: no gateway certificate to speak to the registry with`);
  return readPair(orgFolder(folder).gateway(name));
}

const readPair = (folder: string): Promise<KeyAndCertificate> =>
  readKeyAndCertificate(join(folder, 'tls.key'), join(folder, 'tls.crt'));
