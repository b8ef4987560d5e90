import { ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { ApprovalProposalRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import { sha256 } from '../../sha256.js';
import type { Ended, FinalState } from '../quorum/types.js';
import { parseStatement } from '../statement/statement.js';
import type { ProposalFacts } from '../types.js';

/** A proposal as it is kept: what was proposed, and how it ended. */
export interface StoredProposal {
  readonly id: Buffer;
  readonly facts: ProposalFacts;
  readonly statement: Buffer;
  readonly sha256: Buffer;
  readonly artifactShare: string;
  readonly contentsShare: string;
  readonly number: number;
  readonly receiveMs: number;
  readonly end: ProposalEnd | undefined;
  readonly recalled: boolean;
}

export interface ProposalEnd extends Ended {
  readonly timeMs: number;
  /** Ids of the keys whose approvals were counted. */
  readonly counted: readonly string[];
}

export const STATES: { readonly [state in 'open' | FinalState]: ProposalState } = {
  open: ProposalState.PROPOSAL_STATE_OPEN,
  approved: ProposalState.PROPOSAL_STATE_APPROVED,
  rejected: ProposalState.PROPOSAL_STATE_REJECTED,
  expired: ProposalState.PROPOSAL_STATE_EXPIRED,
  withdrawn: ProposalState.PROPOSAL_STATE_WITHDRAWN,
};

const FINAL_STATES = new Map<ProposalState, FinalState>(
  (['approved', 'rejected', 'expired', 'withdrawn'] as const).map(state => [STATES[state], state]),
);

export function encodeProposal({ end, ...stored }: StoredProposal): Buffer {
  return Buffer.from(
    ApprovalProposalRow.encode({
      statement: stored.statement,
      artifactShare: stored.artifactShare,
      contentsShare: stored.contentsShare,
      number: BigInt(stored.number),
      receiveMs: BigInt(stored.receiveMs),
      ended: end ? STATES[end.state] : ProposalState.PROPOSAL_STATE_UNSPECIFIED,
      endMs: BigInt(end?.timeMs ?? 0),
      votesAtEnd: end?.votes ?? 0,
      counted: (end?.counted ?? []).map(id => Buffer.from(id, 'hex')),
      recalled: stored.recalled,
    }).finish(),
  );
}

/** Throws an Error when it is not a proposal of that id. */
export function decodeProposal(id: Buffer, value: Buffer): StoredProposal {
  const row = ApprovalProposalRow.decode(value);
  const statement = Buffer.from(row.statement);
  const parsed = parseStatement(statement);
  if (parsed.kind !== 'approval' || parsed.proposal.id !== id.toString('hex')) throw new Error('another proposal');
  const state = FINAL_STATES.get(row.ended);
  return {
    id,
    facts: parsed.proposal,
    statement,
    sha256: sha256(statement),
    artifactShare: row.artifactShare,
    contentsShare: row.contentsShare,
    number: Number(row.number),
    receiveMs: Number(row.receiveMs),
    end: state && {
      state,
      timeMs: Number(row.endMs),
      votes: row.votesAtEnd,
      counted: row.counted.map(id => Buffer.from(id).toString('hex')),
    },
    recalled: row.recalled,
  };
}
