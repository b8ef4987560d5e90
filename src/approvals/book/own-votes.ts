import { FedgateError } from '../../errors.js';
import { votesOf } from '../quorum/casting.js';
import { GRACE_MS, lastVoteMs } from '../quorum/eligibility.js';
import type { ApproverDirectory, Envelope } from '../types.js';
import { checkBallot, invalid, readBallot, type VerifiedBallot } from './ballot.js';
import { addVote } from './ballots.js';
import { type Desk, needProposal, readVotes } from './desk.js';
import { concerned } from './sending.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';

/** Takes a vote of the own organisation and sends it to everybody concerned. Resolves with whether it was there already. Rejects as `vote` does. */
export async function castOwn(desk: Desk, step: Step, envelope: Envelope): Promise<{ id: Buffer; duplicate: boolean }> {
  const { org, directory } = desk.options;
  const ballot = readBallot(envelope);
  const stored = await needProposal(desk, ballot.id);
  const verified = verify(() => checkBallot(ballot, stored, org, directory));
  demandGoodKey(directory, verified, step.nowMs);
  const held = await readVotes(desk, stored);
  const said = votesOf(held.votes, verified.keyId);
  if (said.repeats(verified)) return { id: stored.id, duplicate: true };
  demandOpen(stored, verified, step.nowMs);
  const refusal = said.refuses(verified);
  if (refusal !== undefined) throw new FedgateError('VOTE_FINAL', `the vote is not taken: ${refusal}`);
  const { vote } = await addVote(desk, step, stored, held, verified, step.nowMs);
  for (const other of concerned(desk, stored))
    step.send(other, { $case: 'ballot', value: { envelope: vote.envelope } });
  return { id: stored.id, duplicate: false };
}

/** Of the own people another statement is a mistake; nobody shows it to others. */
function verify(check: () => VerifiedBallot | undefined): VerifiedBallot {
  try {
    const verified = check();
    if (verified) return verified;
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'PROPOSAL_FORKED') {
      throw invalid('it is about another statement than the proposal of that id');
    }
    throw error;
  }
  throw new FedgateError('APPROVER_UNKNOWN', 'the key is not an approval key in the record of this organisation');
}

function demandGoodKey(directory: ApproverDirectory, { org, keyId }: VerifiedBallot, nowMs: number): void {
  const approver = directory.of(org)?.approvers.find(({ key }) => key.id === keyId);
  if (approver?.revocation && approver.revocation.timeMs <= nowMs) {
    throw new FedgateError('APPROVER_UNKNOWN', `the key of ${approver.name} is revoked`);
  }
}

/** What is approved may be approved by more; nothing else happens to what has ended. */
function demandOpen({ facts, end }: StoredProposal, { kind }: VerifiedBallot, nowMs: number): void {
  const state = end?.state ?? (nowMs > lastVoteMs(facts) ? 'expired' : 'open');
  const takes = state === 'open' || (state === 'approved' && kind === 'approve' && nowMs <= lastVoteMs(facts));
  if (!takes) throw closed(facts.id, state);
  if (nowMs < facts.notBeforeMs - GRACE_MS) {
    throw invalid(`votes count from ${new Date(facts.notBeforeMs).toISOString()} on`);
  }
}

export const closed = (id: string, state: string): FedgateError =>
  new FedgateError('PROPOSAL_CLOSED', `proposal ${id} is ${state}`, { metadata: { proposal: id, state } });
