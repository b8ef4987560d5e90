import { VoteKind } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { ApprovalVoteRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import type { OrgName } from '../../identity/names.js';
import type { Choice, CountableVote } from '../quorum/types.js';
import type { Envelope } from '../types.js';
import { toEnvelope } from './envelopes.js';

/** A vote as it is kept. */
export interface StoredVote extends CountableVote {
  readonly reason: string;
  /** In its normal form. */
  readonly envelope: Envelope;
  /** SHA-256 of that, as the log holds it. */
  readonly envelopeSha256: Buffer;
}

export const VOTE_KINDS: { readonly [kind in CountableVote['kind']]: VoteKind } = {
  approve: VoteKind.VOTE_KIND_APPROVE,
  reject: VoteKind.VOTE_KIND_REJECT,
  withdraw: VoteKind.VOTE_KIND_WITHDRAW,
};

const KINDS = new Map<VoteKind, CountableVote['kind']>(
  (['approve', 'reject', 'withdraw'] as const).map(kind => [VOTE_KINDS[kind], kind]),
);

const NO_PAYLOAD = Buffer.alloc(0);

export function encodeVote(vote: StoredVote): Buffer {
  return Buffer.from(
    ApprovalVoteRow.encode({
      kind: VOTE_KINDS[vote.kind],
      withdraws: vote.withdraws ? VOTE_KINDS[vote.withdraws] : VoteKind.VOTE_KIND_UNSPECIFIED,
      org: vote.org,
      keyId: Buffer.from(vote.keyId, 'hex'),
      reason: vote.reason,
      receiveMs: BigInt(vote.receiveMs),
      // The statement is in the row of the proposal: it need not be there once more for each approval.
      envelope: vote.kind === 'approve' ? { ...vote.envelope, payload: NO_PAYLOAD } : vote.envelope,
      envelopeSha256: vote.envelopeSha256,
    }).finish(),
  );
}

/** Throws an Error when it is not a vote. */
export function decodeVote(value: Buffer, statement: Buffer): StoredVote {
  const row = ApprovalVoteRow.decode(value);
  const kind = KINDS.get(row.kind);
  if (!kind || !row.envelope) throw new Error('a row without a vote');
  const envelope = toEnvelope(row.envelope);
  return {
    org: row.org as OrgName,
    keyId: Buffer.from(row.keyId).toString('hex'),
    kind,
    withdraws: KINDS.get(row.withdraws) as Choice | undefined,
    reason: row.reason,
    receiveMs: Number(row.receiveMs),
    envelope: kind === 'approve' ? { ...envelope, payload: statement } : envelope,
    envelopeSha256: Buffer.from(row.envelopeSha256),
  };
}
