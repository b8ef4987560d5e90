import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { pae } from '../../src/approvals/statement/pae.js';
import { encodeStatement } from '../../src/approvals/statement/statement.js';
import {
  type ApproverOrg,
  type CountedApproval,
  PAYLOAD_TYPE,
  type ProposalFacts,
  type ReplyFacts,
} from '../../src/approvals/types.js';
import { type ApprovalKey, readApprovalKey } from '../../src/identity/approval-key.js';
import { type OrgName, parseOrgName } from '../../src/identity/names.js';

/** What tests of approvals sign with. */
export interface TestKey {
  readonly org: OrgName;
  readonly key: ApprovalKey;
  readonly privateKey: KeyObject;
  sign(message: Uint8Array): Buffer;
}

export const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

export function testKey(org: string, algorithm: ApprovalKey['algorithm'] = 'ecdsa-p256'): TestKey {
  const { publicKey, privateKey } =
    algorithm === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    org: parseOrgName(org, 'org'),
    key: readApprovalKey(publicKey.export({ format: 'der', type: 'spki' })),
    privateKey,
    sign: message => sign(algorithm === 'ed25519' ? null : 'sha256', message, privateKey),
  };
}

/** The entries of a proposal for these keys, sorted as they must be. */
export function approversOf(keys: readonly TestKey[], federation = 'fed.example'): ApproverOrg[] {
  const orgs = [...new Set(keys.map(({ org }) => org))].sort();
  return orgs.map(org => ({
    org,
    trustDomain: `${org.toLowerCase()}.${federation}`,
    required: 1,
    keyIds: keys
      .filter(key => key.org === org)
      .map(({ key }) => key.id)
      .sort(),
  }));
}

export const ARTIFACT = Buffer.from('#!/bin/sh\necho hello\n');
export const START_MS = Date.UTC(2026, 5, 1, 12);
export const DAY_MS = 86_400_000;

export const proposalOf = (keys: readonly TestKey[], facts: Partial<ProposalFacts> = {}): ProposalFacts => ({
  id: '00112233445566778899aabbccddeeff',
  federation: 'fed.example',
  project: 'scanner',
  version: '1.4.0',
  sequence: 7,
  artifact: { name: 'scanner.tar', kind: 'file', size: ARTIFACT.length, sha256: sha256(ARTIFACT) },
  proposer: 'ACME' as OrgName,
  approvers: approversOf(keys),
  threshold: 1,
  createdMs: START_MS,
  notBeforeMs: START_MS,
  notAfterMs: START_MS + 14 * DAY_MS,
  note: '',
  links: [],
  ...facts,
});

export const replyTo = (proposal: ProposalFacts, org: OrgName, facts: Partial<ReplyFacts> = {}): ReplyFacts => ({
  proposalId: proposal.id,
  federation: proposal.federation,
  org,
  artifact: { name: proposal.artifact.name, sha256: proposal.artifact.sha256 },
  statementSha256: sha256(encodeStatement({ kind: 'approval', proposal })),
  reason: 'not today',
  timeMs: START_MS + 1_000,
  ...facts,
});

/** What a gateway counts when these keys have approved. */
export function counted(proposal: ProposalFacts, signers: readonly TestKey[]): CountedApproval {
  const statement = encodeStatement({ kind: 'approval', proposal });
  const message = pae(PAYLOAD_TYPE, statement);
  return {
    proposal,
    statement,
    signatures: signers.map(signer => ({ org: signer.org, key: signer.key, signature: signer.sign(message) })),
  };
}

/** A policy that trusts these keys. */
export function policyText(keys: readonly TestKey[], more = 'threshold: 1', keyMore = (_key: TestKey) => ''): string {
  const orgs = [...new Set(keys.map(({ org }) => org))].sort();
  return [
    'policy: releases',
    ...(/^version:/m.test(more) ? [] : ['version: 1']),
    more,
    'orgs:',
    ...orgs.flatMap(org => [
      `  - org: ${org}`,
      '    keys:',
      ...keys
        .filter(key => key.org === org)
        .map(key => `      - { key: "${key.key.spki.toString('base64')}"${keyMore(key)} }`),
    ]),
    '',
  ].join('\n');
}
