import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Member, SignedRecord, SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { type Authority, createAuthority } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { signDetached } from '../../src/identity/signing.js';
import { type RecordContent, signRecord } from '../../src/registry/record.js';
import { type MemberState, memberStateToWire, signSnapshot } from '../../src/registry/snapshot.js';
import { FEDERATION } from './registry.js';

/** Organisations and a registry made of nothing but keys, to sign good and bad things with. */

export interface Org {
  readonly name: OrgName;
  readonly authority: Authority;
  /** A record signed by this organisation; `changes` may make it a bad one. */
  record(changes?: Partial<RecordContent>, signer?: Authority): SignedRecord;
}

export async function makeOrg(name: string): Promise<Org> {
  const org = name as OrgName;
  const authority = await createAuthority(FEDERATION, org);
  const usual = {
    federation: FEDERATION,
    org,
    sequence: 1n,
    authorities: [authority.certificate],
    gateways: [],
    timeMs: 1,
    approvers: [],
    approvalsRequired: 0,
  };
  return {
    name: org,
    authority,
    record: (changes = {}, signer = authority) => signRecord({ ...usual, ...changes }, createPrivateKey(signer.key)),
  };
}

export interface SigningRegistry {
  readonly snapshotKey: KeyObject;
  /** Signs bytes as if they were a snapshot. */
  signBytes(bytes: Uint8Array): Uint8Array;
  sign(
    version: bigint,
    members: readonly Member[],
    changes?: { federation?: string; expireTimeMs?: number },
  ): SignedSnapshot;
}

export const START_MS = 1_700_000_000_000;
export const LIFETIME_MS = 3_600_000;

export function makeSigningRegistry(): SigningRegistry {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    snapshotKey: createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })),
    signBytes: bytes => signDetached('snapshot', privateKey, bytes),
    sign: (version, members, { federation = FEDERATION, expireTimeMs = START_MS + LIFETIME_MS } = {}) =>
      signSnapshot(
        { federation, version, timeMs: BigInt(START_MS), expireTimeMs: BigInt(expireTimeMs), members },
        privateKey,
      ),
  };
}

export const member = (org: Org, record: SignedRecord, state: MemberState = 'active'): Member => ({
  org: org.name,
  state: memberStateToWire(state),
  record,
});
