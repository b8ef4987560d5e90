import { type KeyObject, X509Certificate } from 'node:crypto';
import { OrgRecord, type SignedRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import { describe, FedgateError } from '../errors.js';
import { approvalKeyId, canonicalSpki } from '../identity/approval-key.js';
import type { Approver } from '../identity/approver.js';
import { type OrgName, parseGatewayName, parseHostPort, parseOrgName } from '../identity/names.js';
import { isP256, signDetached, verifyDetached } from '../identity/signing.js';
import type { MemberTrust } from '../identity/verify.js';
import { approverToWire, checkApproverSuccession, readApprovalsRequired, readApprovers } from './record-approvers.js';
import { consentToWire, groupsToWire, type OrgGroup, type RecordGroups, readGroups } from './record-groups.js';
import { type RecordRevocations, type RevokedKey, readRevocations, revokedKeyToWire } from './record-revocations.js';
import { forgottenKey } from './revocation-changes.js';

/** What an organisation says of itself, made and signed by itself. */

/** How to reach one gateway of an organisation. */
export interface GatewayEndpoint {
  readonly name: string;
  /** `host:port` of its peer listener, in the order in which they should be tried. */
  readonly addresses: readonly string[];
}

/** A record that was read, checked, and found to be signed by a CA that stands in it. */
export interface OrgProfile {
  readonly org: OrgName;
  readonly sequence: bigint;
  readonly authorities: readonly X509Certificate[];
  /** In the order in which they should be tried. Empty: the organisation only dials out. */
  readonly gateways: readonly GatewayEndpoint[];
  readonly timeMs: number;
  /** In the order in which they were added, revoked ones included. */
  readonly approvers: readonly Approver[];
  /** How many different approvers of its own must approve. At least 1. */
  readonly approvalsRequired: number;
  /** Groups that it names, and those of others that it consents to be in. */
  readonly grouping: RecordGroups;
  /** Keys of its gateways that count no more. */
  readonly revocations: RecordRevocations;
  /** The bytes it was read from. */
  readonly signed: SignedRecord;
}

export const RECORD_LIMITS = { bytes: 64 * 1024, authorities: 2, gateways: 16, addresses: 8 } as const;

export interface RecordContent {
  readonly federation: string;
  readonly org: OrgName;
  readonly sequence: bigint;
  /** PEM. */
  readonly authorities: readonly string[];
  readonly gateways: readonly GatewayEndpoint[];
  readonly timeMs: number;
  readonly approvers: readonly Approver[];
  readonly approvalsRequired: number;
  /** @default none */
  readonly groups?: readonly OrgGroup[];
  /** `acme.suppliers`. @default none */
  readonly consents?: readonly string[];
  /** @default none */
  readonly revokedKeys?: readonly RevokedKey[];
}

/** Makes a record and signs it with a CA key of the organisation. The caller reads it back with `readRecord` to have it checked. */
export function signRecord(content: RecordContent, key: KeyObject): SignedRecord {
  const record = OrgRecord.encode({
    federation: content.federation,
    org: content.org,
    sequence: content.sequence,
    caCertificates: content.authorities.map(pem => new X509Certificate(pem).raw),
    gateways: content.gateways,
    timeMs: BigInt(content.timeMs),
    approvers: content.approvers.map(approverToWire),
    approvalsRequired: content.approvalsRequired,
    groups: groupsToWire(content.groups ?? []),
    consents: (content.consents ?? []).map(consentToWire),
    revokedKeys: (content.revokedKeys ?? []).map(revokedKeyToWire),
  }).finish();
  return { record, signature: signDetached('org-record', key, record) };
}

/** Checks everything about a record that can be checked by itself, its signature included. Throws RECORD_INVALID. */
export function readRecord(signed: SignedRecord, federation: string): OrgProfile {
  if (signed.record.length > RECORD_LIMITS.bytes) throw invalid(`it is larger than ${RECORD_LIMITS.bytes} bytes`);
  const record = decode(signed.record);
  const org = rule(() => parseOrgName(record.org, 'org'));
  if (record.federation !== federation) throw invalid(`it is for another federation than ${federation}`, org);
  if (record.sequence < 1n) throw invalid('its sequence is 0', org);
  const authorities = readAuthorities(record.caCertificates, org);
  checkGateways(record.gateways, org);
  const approvers = rule(() => readApprovers(record.approvers, authorities.map(authorityApprovalKeyId)), org);
  const approvalsRequired = rule(() => readApprovalsRequired(record.approvalsRequired, approvers), org);
  const profile = {
    org,
    sequence: record.sequence,
    authorities,
    gateways: record.gateways,
    timeMs: Number(record.timeMs),
    approvers,
    approvalsRequired,
    grouping: readGroups(org, record),
    revocations: readRevocations(record.revokedKeys),
    signed,
  };
  if (!isSignedBy(profile, authorities)) throw invalid('its signature is not by a CA that stands in it', org);
  return profile;
}

/**
 * Checks that a record may replace another of the same organisation: a higher sequence, and signed by a CA of the one it replaces.
 *
 * Together with `readRecord` this means that the signer stands in both. A CA is therefore replaced in two steps, with old and new
 * side by side in between, and whoever sees any one of the records can verify it. An approval key stays for ever, and its revocation may only
 * be made stricter. Throws RECORD_STALE or RECORD_INVALID.
 */
export function checkSuccession(previous: OrgProfile, next: OrgProfile): void {
  const { org } = previous;
  if (next.org !== org) throw invalid(`it is not ${org}'s`, org);
  if (next.sequence <= previous.sequence) {
    throw new FedgateError(
      'RECORD_STALE',
      `${org}: sequence ${next.sequence} is not higher than ${previous.sequence}`,
      {
        metadata: { org, sequence: String(previous.sequence) },
      },
    );
  }
  if (!isSignedBy(next, previous.authorities)) throw invalid('it is not signed by a CA of the record it replaces', org);
  rule(() => checkApproverSuccession(previous.approvers, next.approvers), org);
}

/** What a registry asks beyond `readRecord` of a record that is new. Throws RECORD_INVALID. */
export function checkNewRecord({
  org,
  grouping,
  revocations,
}: Pick<OrgProfile, 'org' | 'grouping' | 'revocations'>): void {
  const problem = grouping.problem ?? revocations.problem;
  if (problem !== undefined) throw invalid(problem, org);
}

/**
 * What a registry asks beyond `checkSuccession` of a record that takes the place of another: what was revoked stays so. A registry of an
 * earlier version let it through, so a gateway that reads a snapshot does not ask it. Throws RECORD_INVALID.
 */
export function checkStillRevoked(previous: OrgProfile, next: OrgProfile, nowMs: number): void {
  const forgotten = forgottenKey(previous, next, nowMs);
  if (forgotten)
    throw invalid(`the key ${forgotten.keyId} is revoked no more; is fedgate older than 0.5.0 there?`, next.org);
}

/** What says whether a certificate of a member was taken back. Undefined: none was. */
export const revokedBy = ({ revocations: { keys } }: OrgProfile): MemberTrust['isRevoked'] =>
  keys.size === 0 ? undefined : ({ role, keyId }) => role === 'gateway' && keys.has(keyId);

/** What makes one CA key the same as another, whatever certificate it stands in. */
export const authorityKeyId = ({ publicKey }: X509Certificate): string => canonicalSpki(publicKey).toString('base64');

/** The id that the key of a certificate would have as an approval key, which it may not be. */
export const authorityApprovalKeyId = ({ publicKey }: X509Certificate): string =>
  approvalKeyId(canonicalSpki(publicKey));

const isSignedBy = ({ signed }: Pick<OrgProfile, 'signed'>, authorities: readonly X509Certificate[]): boolean =>
  authorities.some(({ publicKey }) => verifyDetached('org-record', publicKey, signed.record, signed.signature));

function decode(bytes: Uint8Array): OrgRecord {
  try {
    return OrgRecord.decode(bytes);
  } catch (cause) {
    throw invalid('its bytes are no record', undefined, cause);
  }
}

function readAuthorities(certificates: readonly Uint8Array[], org: OrgName): X509Certificate[] {
  if (certificates.length < 1 || certificates.length > RECORD_LIMITS.authorities) {
    throw invalid(`it has ${certificates.length} CA certificates instead of one or two`, org);
  }
  return certificates.map(der => readAuthority(der, org));
}

function readAuthority(der: Uint8Array, org: OrgName): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
    // The key is parsed only when it is first asked for, so this belongs inside.
    if (!isP256(certificate.publicKey)) throw new Error('its key is not on P-256');
  } catch (cause) {
    throw invalid(`a CA certificate cannot be used: ${describe(cause)}`, org, cause);
  }
  // More bytes than the certificate would be a second, unseen content under the same signature.
  if (!certificate.raw.equals(der)) throw invalid('a CA certificate is followed by other bytes', org);
  if (!certificate.ca) throw invalid('a CA certificate is not a CA certificate', org);
  return certificate;
}

function checkGateways(gateways: readonly GatewayEndpoint[], org: OrgName): void {
  if (gateways.length > RECORD_LIMITS.gateways)
    throw invalid(`it has more than ${RECORD_LIMITS.gateways} gateways`, org);
  if (new Set(gateways.map(({ name }) => name)).size < gateways.length)
    throw invalid('two gateways have one name', org);
  for (const { name, addresses } of gateways) {
    rule(() => parseGatewayName(name, 'gateway'), org);
    if (addresses.length < 1 || addresses.length > RECORD_LIMITS.addresses) {
      throw invalid(
        `gateway ${name} has ${addresses.length} addresses instead of 1 to ${RECORD_LIMITS.addresses}`,
        org,
      );
    }
    for (const address of addresses) rule(() => parseHostPort(address, `gateway ${name}`), org);
  }
}

/** Runs a check that speaks of fields, and speaks of the record instead. */
function rule<T>(check: () => T, org?: string): T {
  try {
    return check();
  } catch (cause) {
    throw invalid(describe(cause), org, cause);
  }
}

function invalid(why: string, org?: string, cause?: unknown): FedgateError {
  const whose = org === undefined ? 'an organisation' : org;
  return new FedgateError('RECORD_INVALID', `the record of ${whose} is not accepted: ${why}`, {
    metadata: org === undefined ? {} : { org },
    ...(cause === undefined ? {} : { cause }),
  });
}
