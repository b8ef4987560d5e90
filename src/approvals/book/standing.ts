import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { judge } from '../quorum/judge.js';
import type { Judgement } from '../quorum/types.js';
import { type Desk, type Marks, needProposal, readMarks, readReceipts, readVotes } from './desk.js';
import { previousApproved } from './sequences.js';
import type { StoredProposal } from './stored-proposal.js';
import type { StoredVote } from './stored-vote.js';
import { fullView, summaryOf } from './views.js';

/** A proposal as it stands now. */
export interface Standings {
  readonly votes: readonly StoredVote[];
  readonly marks: Marks;
  readonly judgement: Judgement;
  readonly summary: Proposal;
}

export async function standing(desk: Desk, stored: StoredProposal): Promise<Standings> {
  const { options, clock } = desk;
  const { votes } = await readVotes(desk, stored);
  const marks = await readMarks(desk, stored);
  const judgement = judge(stored.facts, votes, options.directory, clock.now(), stored.end);
  return { votes, marks, judgement, summary: summaryOf(stored, judgement, marks, options.org) };
}

/** With its votes and who has them. Rejects with PROPOSAL_UNKNOWN, STORE_DAMAGED. */
export async function view(desk: Desk, id: Buffer): Promise<Proposal> {
  const stored = await needProposal(desk, id);
  const { votes, judgement, summary } = await standing(desk, stored);
  const receipts = await readReceipts(desk, stored.id);
  return fullView(summary, stored, votes, judgement, receipts, await previousApproved(desk, stored.facts));
}
