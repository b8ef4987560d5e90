import { FedgateError } from '../../errors.js';
import { type ApprovalKey, verifyWithApprovalKey } from '../../identity/approval-key.js';
import type { OrgName } from '../../identity/names.js';
import type { CountableVote } from '../quorum/types.js';
import { pae } from '../statement/pae.js';
import { parseStatement } from '../statement/statement.js';
import { type ApproverDirectory, type Envelope, PAYLOAD_TYPE, type ReplyFacts, type Statement } from '../types.js';
import { normalised } from './envelopes.js';
import type { StoredProposal } from './stored-proposal.js';

/** A vote whose envelope was read. Nothing of it is verified. */
export interface Ballot {
  readonly envelope: Envelope;
  readonly statement: Statement;
  /** Of the proposal. */
  readonly id: Buffer;
}

/** A vote that fits a proposal and was signed with a key that may vote for its organisation. */
export interface VerifiedBallot extends Pick<CountableVote, 'org' | 'keyId' | 'kind' | 'withdraws'> {
  readonly reason: string;
  /** In its normal form. */
  readonly envelope: Envelope;
}

const KINDS = { approval: 'approve', rejection: 'reject', withdrawal: 'withdraw' } as const;
const CHOICES = { approval: 'approve', rejection: 'reject' } as const;
/** Longer than any signature that is one. */
const MAX_SIGNATURE_BYTES = 128;

/** Throws VOTE_INVALID, STATEMENT_INVALID. */
export function readBallot(envelope: Envelope): Ballot {
  if (envelope.payloadType !== PAYLOAD_TYPE) throw invalid('it signs another type than an in-toto statement');
  if (envelope.signatures.length !== 1) throw invalid('it has not exactly one signature');
  const statement = parseStatement(envelope.payload);
  const id = statement.kind === 'approval' ? statement.proposal.id : statement.reply.proposalId;
  return { envelope, statement, id: Buffer.from(id, 'hex') };
}

/**
 * Checks a vote of an organisation against the proposal that is held here.
 *
 * Undefined: it was signed with a key that the proposal names and the registry does not know, or not yet. Throws VOTE_INVALID, SIGNATURE_INVALID,
 * APPROVER_UNKNOWN; PROPOSAL_FORKED when an approver signed another statement of the same id: somebody showed it to them.
 */
export function checkBallot(
  { envelope, statement }: Ballot,
  stored: StoredProposal,
  org: OrgName,
  directory: Pick<ApproverDirectory, 'of'>,
): VerifiedBallot | undefined {
  const listed = stored.facts.approvers.find(approver => approver.org === org);
  if (!listed) throw new FedgateError('APPROVER_UNKNOWN', `the proposal does not name ${org}`);
  const forked = isOther(statement, envelope, stored);
  if (statement.kind !== 'approval') checkReply(statement.reply, stored, org, forked);
  const known = new Map((directory.of(org)?.approvers ?? []).map(({ key }) => [key.id, key]));
  const key = signerOf(envelope, known);
  if (!key) {
    const missing = listed.keyIds.filter(id => !known.has(id));
    if (!forked && missing.length > 0 && hints(envelope, missing)) return undefined;
    throw new FedgateError('SIGNATURE_INVALID', `the vote is not signed with an approval key of ${org}`);
  }
  if (forked) {
    throw new FedgateError('PROPOSAL_FORKED', `an approver of ${org} has signed another statement of this proposal`);
  }
  if (!listed.keyIds.includes(key.id)) {
    throw new FedgateError('APPROVER_UNKNOWN', `the proposal does not name the key ${key.id} for ${org}`);
  }
  return {
    org,
    keyId: key.id,
    kind: KINDS[statement.kind],
    withdraws: statement.kind === 'withdrawal' ? CHOICES[statement.withdraws] : undefined,
    reason: statement.kind === 'approval' ? '' : statement.reply.reason,
    envelope: normalised(envelope, key.id),
  };
}

function checkReply(reply: ReplyFacts, { facts }: StoredProposal, org: OrgName, forked: boolean): void {
  if (reply.org !== org) throw invalid(`it is a vote of ${reply.org}`);
  if (reply.federation !== facts.federation) throw invalid('it is of another federation');
  // Of another statement the artifact may be another as well: that is no mistake but the fork itself.
  if (forked) return;
  if (reply.artifact.sha256 !== facts.artifact.sha256 || reply.artifact.name !== facts.artifact.name) {
    throw invalid('it is about another artifact');
  }
}

/** Whether it speaks of another statement than the one that is held. */
const isOther = (statement: Statement, { payload }: Envelope, stored: StoredProposal): boolean =>
  statement.kind === 'approval'
    ? !payload.equals(stored.statement)
    : statement.reply.statementSha256 !== stored.sha256.toString('hex');

/** The key that verifies: the one that is hinted at first. However many a record has, so many are tried. */
function signerOf({ payloadType, payload, signatures }: Envelope, known: ReadonlyMap<string, ApprovalKey>) {
  const [first] = signatures;
  if (!first || first.signature.length > MAX_SIGNATURE_BYTES) return undefined;
  const message = pae(payloadType, payload);
  const hinted = known.get(first.keyId);
  const keys = hinted ? [hinted, ...[...known.values()].filter(key => key !== hinted)] : [...known.values()];
  return keys.slice(0, MAX_KEYS_TRIED).find(key => verifyWithApprovalKey(key, message, first.signature));
}

/** Keys that one signature is tried with. */
export const MAX_KEYS_TRIED = 64;

const hints = ({ signatures }: Envelope, keyIds: readonly string[]): boolean => {
  const hint = signatures[0]?.keyId ?? '';
  return hint === '' || keyIds.includes(hint);
};

export const invalid = (why: string): FedgateError => new FedgateError('VOTE_INVALID', `the vote is not taken: ${why}`);
