import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type SignedRecord, SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import type { JoinResponse } from '../../gen/ts/fedgate/registry/v1/registry_service.js';
import { describe, FedgateError } from '../errors.js';
import { readKeyAndCertificate, writeFileAtomically, writeKeyAndCertificate } from '../identity/files.js';
import { type Authority, createAuthority, issueLeaf, type KeyAndCertificate } from '../identity/issue.js';
import { type OrgName, parseGatewayName } from '../identity/names.js';
import { orgFolder, readMembership, writeMembership } from '../identity/org-folder.js';
import { isP256, signDetached } from '../identity/signing.js';
import { subjectOfLeaf } from '../identity/verify.js';
import { RegistryClient } from './client.js';
import { snapshotFile } from './directory.js';
import { decodeInvitation, type Invitation } from './invitation.js';
import { joinProofBytes } from './join-proof.js';
import { fetchPinnedCertificate } from './pinned-certificate.js';
import { type GatewayEndpoint, readRecord, signRecord } from './record.js';
import { acceptSnapshot } from './snapshot.js';

export interface JoinOptions {
  /** The invitation code, as it was pasted. */
  readonly code: string;
  /** The organisation's folder; made if it is not there. */
  readonly folder: string;
  /** The name of the first gateway. @default 'gw1' */
  readonly gatewayName?: string;
  /** `host:port` at which other organisations reach that gateway. None: it only dials out. @default none */
  readonly addresses?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface Joined {
  readonly org: OrgName;
  readonly federation: string;
}

/** A lost answer is asked for again this many times. */
const ATTEMPTS = 3;

/**
 * Joins a federation with an invitation: makes the organisation's CA and its first gateway's certificate, proves that it holds the
 * CA key, registers, and writes the organisation's folder.
 *
 * The keys are on disk before the registry is asked to take them, so when an answer is lost the same call with the same folder carries
 * on: the registry repeats its answer to the same CA.
 *
 * Throws INVITATION_*, REGISTRY_UNREACHABLE, REGISTRY_UNTRUSTED, FILE_UNUSABLE, and what the registry answers.
 */
export async function joinFederation(options: JoinOptions): Promise<Joined> {
  const { folder, signal } = options;
  const gatewayName = parseGatewayName(options.gatewayName ?? 'gw1', 'gateway');
  const invitation = decodeInvitation(options.code);
  const { federation, org } = invitation;
  await refuseOtherMembership(folder, invitation);
  const certificate = await findRegistry(invitation, signal);
  const authority = await prepareKeys(folder, invitation, gatewayName);
  const gateways = options.addresses?.length ? [{ name: gatewayName, addresses: options.addresses }] : [];
  const record = firstRecord(invitation, authority, gateways);

  const { addresses } = invitation;
  const client = new RegistryClient({ federation, addresses, certificate });
  let answer: JoinResponse;
  try {
    answer = await register(client, invitation, authority, record, signal);
  } finally {
    client.close();
  }
  const signed = checkAnswer(answer, invitation, authority);
  await writeFileAtomically(snapshotFile(orgFolder(folder).state), SignedSnapshot.encode(signed).finish());
  // Last: a folder with this file is a member's.
  await writeMembership(folder, {
    federation,
    org,
    registry: { addresses, certificate, snapshotKey: answer.snapshotKey },
  });
  return { org, federation };
}

async function refuseOtherMembership(folder: string, { org, federation }: Invitation): Promise<void> {
  if (!existsSync(orgFolder(folder).membership)) return;
  const present = await readMembership(folder);
  if (present.org === org && present.federation === federation) return;
  throw new FedgateError(
    'FILE_UNUSABLE',
    `${folder} already belongs to ${present.org} in ${present.federation}; use another folder for ${org} in ${federation}`,
  );
}

/** The registry's certificate, from the first address that has the promised one. */
async function findRegistry({ addresses, fingerprint }: Invitation, signal: AbortSignal | undefined): Promise<string> {
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await fetchPinnedCertificate(address, fingerprint, signal ? { signal } : {});
    } catch (error) {
      // A certificate that is not the promised one weighs more than an address where nobody is.
      if (!(failure instanceof FedgateError && failure.reason === 'REGISTRY_UNTRUSTED')) failure = error;
      if (signal?.aborted) break;
    }
  }
  throw failure;
}

/** The organisation's CA; it and the gateway's certificate are read if an earlier try left them, made otherwise. */
async function prepareKeys(folder: string, { federation, org }: Invitation, gatewayName: string): Promise<Authority> {
  const paths = orgFolder(folder);
  const authority = await readOrMake(paths.authority, () => createAuthority(federation, org));
  const gateway = await readOrMake(paths.gateway(gatewayName), () =>
    issueLeaf(authority, federation, { org, role: 'gateway', name: gatewayName }),
  );
  checkLeftovers(folder, authority, gateway, { federation, org });
  return authority;
}

async function readOrMake(folder: string, make: () => Promise<KeyAndCertificate>): Promise<KeyAndCertificate> {
  const paths = { key: join(folder, 'tls.key'), certificate: join(folder, 'tls.crt') };
  if (existsSync(paths.key) && existsSync(paths.certificate))
    return readKeyAndCertificate(paths.key, paths.certificate);
  const pair = await make();
  await writeKeyAndCertificate(folder, pair);
  return pair;
}

/** Keys that were found must be of the organisation that joins now. */
function checkLeftovers(
  folder: string,
  authority: Authority,
  gateway: KeyAndCertificate,
  { federation, org }: { readonly federation: string; readonly org: OrgName },
): void {
  const leaf = new X509Certificate(gateway.certificate);
  const issued = leaf.verify(new X509Certificate(authority.certificate).publicKey);
  if (!issued || subjectOfLeaf(leaf, federation).org !== org) {
    throw new FedgateError(
      'FILE_UNUSABLE',
      `${folder} holds keys of something else; use an empty folder for ${org} in ${federation}`,
    );
  }
}

function firstRecord(
  { federation, org }: Invitation,
  authority: Authority,
  gateways: readonly GatewayEndpoint[],
): SignedRecord {
  const key = createPrivateKey(authority.key);
  const content = {
    federation,
    org,
    sequence: 1n,
    authorities: [authority.certificate],
    gateways,
    timeMs: Date.now(),
    approvers: [],
    approvalsRequired: 0,
  };
  return readRecord(signRecord(content, key), federation).signed;
}

/** Challenge and proof belong together: when the connection breaks in between, both begin again. */
async function register(
  client: RegistryClient,
  invitation: Invitation,
  authority: Authority,
  record: SignedRecord,
  signal: AbortSignal | undefined,
): Promise<JoinResponse> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await registerOnce(client, invitation, authority, record, signal);
    } catch (error) {
      const lost =
        error instanceof FedgateError && (error.reason === 'REGISTRY_UNREACHABLE' || error.reason === 'REPLAYED');
      if (!lost || attempt === ATTEMPTS) throw error;
    }
  }
}

async function registerOnce(
  client: RegistryClient,
  { federation, org, secret }: Invitation,
  authority: Authority,
  record: SignedRecord,
  signal: AbortSignal | undefined,
): Promise<JoinResponse> {
  const invitationSecret = secret;
  const answer = await client.createJoinChallenge({ invitationSecret, org }, { signal });
  if (answer.federation !== federation) {
    throw new FedgateError(
      'FEDERATION_MISMATCH',
      `the invitation is for ${federation}, the registry is another federation's`,
    );
  }
  const { challenge } = answer;
  const proof = signDetached('join', createPrivateKey(authority.key), joinProofBytes(challenge, secret, record));
  return client.join({ invitationSecret, challenge, proof, record }, { signal });
}

/** The snapshot out of the answer, once it is sure that we stand in it with our own CA. */
function checkAnswer(answer: JoinResponse, { federation, org }: Invitation, authority: Authority): SignedSnapshot {
  const { snapshot: signed } = answer;
  if (!signed) throw new FedgateError('SNAPSHOT_INVALID', 'the registry answered without a snapshot');
  const snapshotKey = readSnapshotKey(answer.snapshotKey);
  const { members } = acceptSnapshot(undefined, signed, { federation, snapshotKey, nowMs: Date.now() });
  const own = new X509Certificate(authority.certificate).raw;
  const isThere = members.get(org)?.profile.authorities.some(({ raw }) => raw.equals(own));
  if (!isThere)
    throw new FedgateError('SNAPSHOT_INVALID', `the registry's snapshot does not hold ${org} with its own CA`);
  return signed;
}

/** Reads a snapshot verification key: SubjectPublicKeyInfo, DER. Throws SNAPSHOT_INVALID. */
export function readSnapshotKey(der: Uint8Array): KeyObject {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
    if (!isP256(key)) throw new Error('it is not on P-256');
    return key;
  } catch (cause) {
    throw new FedgateError('SNAPSHOT_INVALID', `the registry's snapshot key cannot be used: ${describe(cause)}`, {
      cause,
    });
  }
}
