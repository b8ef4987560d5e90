import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { pae } from '../../../src/approvals/statement/pae.js';
import { encodeStatement, statementSha256 } from '../../../src/approvals/statement/statement.js';
import {
  type Approver,
  type ApproverDirectory,
  type Envelope,
  type OrgApprovers,
  PAYLOAD_TYPE,
  type ProposalFacts,
  type Statement,
} from '../../../src/approvals/types.js';
import { type ApprovalKey, readApprovalKey } from '../../../src/identity/approval-key.js';
import type { OrgName } from '../../../src/identity/names.js';

/** Somebody with an approval key. */
export interface Person {
  readonly name: string;
  readonly key: ApprovalKey;
  readonly privateKey: KeyObject;
}

const people: Person[] = [];

/** The same people in every test of a file: making keys takes a while. */
export function person(
  number: number,
  algorithm: 'ed25519' | 'ecdsa' = number % 3 === 2 ? 'ecdsa' : 'ed25519',
): Person {
  const known = people[number];
  if (known) return known;
  const { publicKey, privateKey } =
    algorithm === 'ecdsa' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const made = {
    name: `person-${number}`,
    key: readApprovalKey(publicKey.export({ format: 'der', type: 'spki' })),
    privateKey,
  };
  people[number] = made;
  return made;
}

export const orgName = (name: string): OrgName => name as OrgName;

export const approverOf = (one: Person, changes: Partial<Approver> = {}): Approver => ({
  name: one.name,
  key: one.key,
  addMs: 1,
  revocation: undefined,
  ...changes,
});

/** A registry in memory over real keys. */
export class TestDirectory implements ApproverDirectory {
  readonly #members = new Map<string, OrgApprovers>();
  readonly #listeners = new Set<() => void>();

  of(org: string): OrgApprovers | undefined {
    return this.#members.get(org);
  }

  all(): Iterable<OrgApprovers> {
    return this.#members.values();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(org: string, approvers: readonly Approver[], { required = 1, active = true } = {}): void {
    this.#members.set(org, { org: orgName(org), active, approvers, required });
    this.#told();
  }

  change(org: string, changes: Partial<OrgApprovers>): void {
    const member = this.#members.get(org);
    if (!member) throw new Error(`no member ${org}`);
    this.#members.set(org, { ...member, ...changes });
    this.#told();
  }

  /** Changes the approver that has a key. */
  changeApprover(org: string, keyId: string, changes: Partial<Approver>): void {
    const approvers = (this.of(org)?.approvers ?? []).map(one => (one.key.id === keyId ? { ...one, ...changes } : one));
    this.change(org, { approvers });
  }

  remove(org: string): void {
    this.#members.delete(org);
    this.#told();
  }

  #told(): void {
    for (const listener of this.#listeners) listener();
  }
}

export function signStatement(statement: Statement, by: Person, payloadType: string = PAYLOAD_TYPE): Envelope {
  return signBytes(encodeStatement(statement), by, payloadType);
}

export function signBytes(payload: Buffer, by: Person, payloadType: string = PAYLOAD_TYPE): Envelope {
  const algorithm = by.key.algorithm === 'ed25519' ? null : 'sha256';
  const signature = sign(algorithm, pae(payloadType, payload), by.privateKey);
  return { payloadType, payload, signatures: [{ keyId: by.key.id, signature }] };
}

/** What a vote of this kind says. */
export function ballotOf(
  kind: 'approve' | 'reject' | 'withdraw approve' | 'withdraw reject',
  proposal: ProposalFacts,
  org: string,
  { reason = 'because', timeMs = proposal.createdMs } = {},
): Statement {
  if (kind === 'approve') return { kind: 'approval', proposal };
  const statement = encodeStatement({ kind: 'approval', proposal });
  const { name, sha256 } = proposal.artifact;
  const reply = {
    proposalId: proposal.id,
    federation: proposal.federation,
    org: orgName(org),
    artifact: { name, sha256 },
    statementSha256: statementSha256(statement),
    reason,
    timeMs,
  };
  if (kind === 'reject') return { kind: 'rejection', reply };
  return { kind: 'withdrawal', reply, withdraws: kind === 'withdraw approve' ? 'approval' : 'rejection' };
}
