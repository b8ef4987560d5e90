import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../errors.js';
import type { Approver } from '../identity/approver.js';
import { readKeyAndCertificate } from '../identity/files.js';
import type { KeyAndCertificate } from '../identity/issue.js';
import type { OrgName } from '../identity/names.js';
import { type Membership, orgFolder, readMembership } from '../identity/org-folder.js';
import { RegistryClient } from './client.js';
import { readSnapshotKey } from './join.js';
import {
  authorityApprovalKeyId,
  checkNewRecord,
  checkSuccession,
  type GatewayEndpoint,
  type OrgProfile,
  type RecordContent,
  readRecord,
  signRecord,
} from './record.js';
import { revokeKey } from './revocation-changes.js';
import { type AcceptedSnapshot, acceptSnapshot } from './snapshot.js';

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

/** Reads the records of members from the registry, in the order of their names here. Throws as above, and ORG_UNKNOWN. */
export async function fetchRecords({
  folder,
  orgs,
  signal,
}: OrgFolderSettings & { readonly orgs: readonly OrgName[] }): Promise<OrgProfile[]> {
  const membership = await readMembership(folder);
  return withClient(folder, membership, async client => {
    const profiles: OrgProfile[] = [];
    for (const org of orgs) profiles.push(await readMember(client, org, membership.federation, signal));
    return profiles;
  });
}

/** Signs a record with these gateways in place of the old ones and hands it to the registry. Throws as above, and RECORD_*. */
export const updateRecord = ({
  gateways,
  ...settings
}: OrgFolderSettings & { readonly gateways: readonly GatewayEndpoint[] }): Promise<OrgProfile> =>
  replaceRecord(settings, () => ({ gateways }));

/** Who approves for an organisation, and how many of them must. */
export type ApproverSettings = Pick<RecordContent, 'approvers' | 'approvalsRequired'>;

/**
 * Signs a record with other approvers and hands it to the registry. `change` is given what the record at hand says, may throw, and may say
 * undefined: it is as wanted already. Throws as above, and APPROVER_KEY_TAKEN for a new key that is that of a certificate in the folder, or is
 * not free in the federation.
 */
export const updateApprovers = ({
  change,
  ...settings
}: OrgFolderSettings & {
  readonly change: (previous: OrgProfile) => ApproverSettings | undefined | Promise<ApproverSettings | undefined>;
}): Promise<OrgProfile> =>
  replaceRecord(settings, async previous => {
    const next = await change(previous);
    if (!next) return undefined;
    const { approvers, approvalsRequired } = next;
    const known = new Set(previous.approvers.map(({ key }) => key.id));
    const added = approvers.filter(({ key }) => !known.has(key.id));
    if (added.length > 0) await refuseTlsKeys(settings.folder, added);
    return { approvers, approvalsRequired };
  });

/**
 * Signs a record with other groups or consents and hands it to the registry. `change` is given what the record at hand says, and may say undefined:
 * it is as wanted already. Throws as above, and what `change` throws.
 */
export const updateGroups = ({
  change,
  ...settings
}: OrgFolderSettings & {
  readonly change: (previous: OrgProfile) => Pick<RecordContent, 'groups' | 'consents'> | undefined;
}): Promise<OrgProfile> => replaceRecord(settings, change);

/**
 * Signs a record that revokes a key of a gateway and hands it to the registry. Throws as `updateGroups`, and LIMIT_REACHED. When the key at
 * hand is the one that is revoked the registry answers this call, and none after it.
 */
export const revokeGatewayKey = ({
  keyId,
  ...settings
}: OrgFolderSettings & { readonly keyId: string }): Promise<OrgProfile> =>
  replaceRecord(settings, previous => revokeKey(previous, keyId, Date.now()));

/** All members as the registry knows them now, its signature checked. Throws as above, and SNAPSHOT_*. */
export async function fetchMembers({ folder, signal }: OrgFolderSettings): Promise<AcceptedSnapshot['members']> {
  const membership = await readMembership(folder);
  const { federation, registry } = membership;
  const snapshotKey = readSnapshotKey(registry.snapshotKey);
  const signed = await withClient(folder, membership, client => client.getSnapshot({ signal }));
  return acceptSnapshot(undefined, signed, { federation, snapshotKey, nowMs: Date.now() }).members;
}

type Changes = Partial<RecordContent> | undefined;

/** Everything in the record that does not change is taken over from the one at hand. */
async function replaceRecord(
  { folder, signal }: OrgFolderSettings,
  change: (previous: OrgProfile) => Changes | Promise<Changes>,
): Promise<OrgProfile> {
  const membership = await readMembership(folder);
  const { federation, org } = membership;
  const authority = await readPair(orgFolder(folder).authority);
  return withClient(folder, membership, async client => {
    const previous = await readOwn(client, membership, signal);
    const changes = await change(previous);
    if (!changes) return previous;
    const { sequence, authorities, gateways, approvers, approvalsRequired, grouping, revocations } = previous;
    const content: RecordContent = {
      federation,
      org,
      sequence: sequence + 1n,
      authorities: authorities.map(ca => ca.toString()),
      gateways,
      timeMs: Date.now(),
      approvers,
      approvalsRequired,
      groups: grouping.groups,
      consents: grouping.consents,
      revokedKeys: [...revocations.keys.values()],
      ...changes,
    };
    const next = readRecord(signRecord(content, createPrivateKey(authority.key)), federation);
    checkNewRecord(next);
    // Here already: what the registry would refuse is told without asking it.
    checkSuccession(previous, next);
    await client.putRecord(next.signed, { signal });
    return next;
  });
}

/** A key that opens connections approves nothing: whoever runs the machine has it. */
async function refuseTlsKeys(folder: string, approvers: readonly Approver[]): Promise<void> {
  const { gateway, node } = orgFolder(folder);
  for (const parent of [gateway('.'), node('.')]) {
    for (const name of await readdir(parent).catch(() => [])) {
      const path = join(parent, name, 'tls.crt');
      const text = await readFile(path, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const id = authorityApprovalKeyId(new X509Certificate(text));
      const same = approvers.find(({ key }) => key.id === id);
      if (same)
        throw new FedgateError('APPROVER_KEY_TAKEN', `the approval key of ${same.name} is the TLS key of ${path}`);
    }
  }
}

const readOwn = (client: RegistryClient, { org, federation }: Membership, signal?: AbortSignal): Promise<OrgProfile> =>
  readMember(client, org, federation, signal);

async function readMember(
  client: RegistryClient,
  org: string,
  federation: string,
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
