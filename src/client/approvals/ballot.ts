import { pae } from '../../approvals/statement/pae.js';
import { encodeStatement, parseStatement, statementSha256 } from '../../approvals/statement/statement.js';
import {
  type ApproverOrg,
  type Envelope,
  PAYLOAD_TYPE,
  type ProposalFacts,
  type ReplyFacts,
  type Signer,
} from '../../approvals/types.js';
import { FedgateError, quoted } from '../../errors.js';
import type { Proposal } from './types.js';

/**
 * What is signed is made here, from bytes that were looked at here: the gateway, and whoever gave it the proposal, are not believed that what they
 * show is what they have signed.
 */

/** The statement of a proposal, and what it says. */
export interface CheckedStatement {
  readonly bytes: Buffer;
  readonly sha256: string;
  readonly facts: ProposalFacts;
}

/**
 * Reads the statement of a proposal that was asked for by its id. Throws STATEMENT_INVALID when it is none, or what the gateway shows beside it
 * is not what it says; PROPOSAL_FORKED when it is not the one that was reviewed.
 */
export function checkedStatement(proposal: Proposal, reviewedSha256?: string): CheckedStatement {
  const { id, statement: bytes } = proposal;
  if (!bytes) throw new FedgateError('FRAME_MALFORMED', 'the gateway left the statement out of its answer');
  const sha256 = statementSha256(bytes);
  const statement = parseStatement(bytes);
  if (statement.kind !== 'approval') throw contradiction('is no proposal');
  const facts = statement.proposal;
  if (sha256 !== proposal.statementSha256 || differs(proposal, facts))
    throw contradiction('is another one than is shown');
  if (reviewedSha256 !== undefined && reviewedSha256 !== sha256) throw forked(id, reviewedSha256, sha256);
  return { bytes, sha256, facts };
}

/** Whether something that is shown to people is not what would be signed. */
function differs(shown: Proposal, facts: ProposalFacts): boolean {
  const { artifact, approvers, links, ...rest } = facts;
  return (
    shown.id !== rest.id ||
    shown.proposer !== rest.proposer ||
    shown.project !== rest.project ||
    shown.version !== rest.version ||
    shown.sequence !== rest.sequence ||
    shown.threshold !== rest.threshold ||
    shown.notBeforeMs !== rest.notBeforeMs ||
    shown.notAfterMs !== rest.notAfterMs ||
    shown.note !== rest.note ||
    JSON.stringify(shown.links) !== JSON.stringify(links) ||
    shown.artifact.name !== artifact.name ||
    shown.artifact.kind !== artifact.kind ||
    shown.artifact.size !== artifact.size ||
    shown.artifact.sha256 !== artifact.sha256 ||
    shown.standings.map(({ org }) => org).join() !== approvers.map(({ org }) => org).join()
  );
}

/** The organisation that a key votes for. Throws APPROVER_UNKNOWN when the proposal does not name the key. */
export function orgOfKey({ facts }: CheckedStatement, keyId: string): ApproverOrg {
  const org = facts.approvers.find(({ keyIds }) => keyIds.includes(keyId));
  if (!org)
    throw new FedgateError(
      'APPROVER_UNKNOWN',
      `the key ${keyId} is not one of those that may vote on this proposal: it was registered after it was made, or not at all`,
    );
  return org;
}

/** Signs the proposal itself: the yes. Throws APPROVER_UNKNOWN, SIGNER_FAILED. */
export function approval(checked: CheckedStatement, signer: Signer): Promise<Envelope> {
  orgOfKey(checked, signer.key.id);
  return envelope(checked.bytes, signer);
}

/** Signs a no. Throws APPROVER_UNKNOWN, STATEMENT_INVALID (the reason is too long), SIGNER_FAILED. */
export async function rejection(checked: CheckedStatement, reason: string, signer: Signer): Promise<Envelope> {
  return envelope(encodeStatement({ kind: 'rejection', reply: reply(checked, reason, signer) }), signer);
}

/** Signs that an earlier vote of the key is taken back. Throws as `rejection`. */
export async function withdrawal(
  checked: CheckedStatement,
  withdraws: 'approval' | 'rejection',
  reason: string,
  signer: Signer,
): Promise<Envelope> {
  return envelope(encodeStatement({ kind: 'withdrawal', withdraws, reply: reply(checked, reason, signer) }), signer);
}

function reply(checked: CheckedStatement, reason: string, signer: Signer): ReplyFacts {
  const { id, federation, artifact } = checked.facts;
  return {
    proposalId: id,
    federation,
    org: orgOfKey(checked, signer.key.id).org,
    artifact: { name: artifact.name, sha256: artifact.sha256 },
    statementSha256: checked.sha256,
    reason,
    timeMs: Date.now(),
  };
}

async function envelope(payload: Buffer, signer: Signer): Promise<Envelope> {
  const signature = await signer.sign(pae(PAYLOAD_TYPE, payload));
  return { payloadType: PAYLOAD_TYPE, payload, signatures: [{ keyId: signer.key.id, signature }] };
}

/** The vote of a key that a withdrawal would take back. Throws VOTE_FINAL when there is none. */
export function standingVote({ standings }: Proposal, keyId: string): 'approval' | 'rejection' {
  const votes = standings.flatMap(({ votes }) => votes.filter(vote => vote.keyId === keyId));
  const last = votes.at(-1);
  if (last?.kind === 'approve') return 'approval';
  if (last?.kind === 'reject') return 'rejection';
  throw new FedgateError('VOTE_FINAL', `the key ${keyId} has no vote on this proposal that could be withdrawn`);
}

const contradiction = (what: string): FedgateError =>
  new FedgateError('STATEMENT_INVALID', `the statement that the gateway would have signed ${what}; nothing was signed`);

const forked = (id: string, reviewed: string, shown: string): FedgateError =>
  new FedgateError(
    'PROPOSAL_FORKED',
    `the gateway shows another statement under the id ${quoted(id)} than was reviewed: ${shown} now, ${reviewed} then; nothing was signed`,
    { metadata: { reviewed, shown } },
  );
