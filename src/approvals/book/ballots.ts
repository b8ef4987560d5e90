import type { Envelope as EnvelopeMessage } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { key } from '../../store/keys.js';
import { votesOf } from '../quorum/casting.js';
import { checkBallot, invalid, readBallot, type VerifiedBallot } from './ballot.js';
import { type Desk, findProposal, readMarks, readVotes, type StoredVotes } from './desk.js';
import type { EarlyVote } from './early-votes.js';
import { envelopeBytes, toEnvelope } from './envelopes.js';
import type { LogHead } from './log.js';
import { giveReceipt } from './receipts.js';
import { settle } from './settle.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';
import { encodeVote, type StoredVote } from './stored-vote.js';
import { TABLE } from './tables.js';

/**
 * Takes a vote that the gateway of its organisation sent, or keeps it until it can be judged. Throws STATEMENT_INVALID, VOTE_INVALID,
 * SIGNATURE_INVALID, APPROVER_UNKNOWN, VOTE_FINAL, PROPOSAL_FORKED, STORE_*.
 */
export async function takeBallot(
  desk: Desk,
  step: Step,
  from: OrgName,
  message: EnvelopeMessage | undefined,
  receiveMs: number,
  early?: EarlyVote,
): Promise<void> {
  if (!message) throw invalid('it has no envelope');
  const ballot = readBallot(toEnvelope(message));
  const stored = await findProposal(desk, ballot.id);
  const verified = stored && checkBallot(ballot, stored, from, desk.options.directory);
  if (!verified) {
    if (!early) desk.early.keep(step, ballot.id, from, receiveMs, message);
    return;
  }
  if (early) desk.early.remove(step, early);
  const held = await readVotes(desk, stored);
  const said = votesOf(held.votes, verified.keyId);
  // Whoever sends it again has the receipt, or will.
  if (said.repeats(verified)) return;
  const refusal = said.refuses(verified);
  if (refusal !== undefined) throw new FedgateError('VOTE_FINAL', `the vote is not taken: ${refusal}`);
  const { vote, at } = await addVote(desk, step, stored, held, verified, receiveMs);
  giveReceipt(desk, step, from, { id: stored.id, subjectSha256: vote.envelopeSha256, receiveMs, at });
}

/** Puts a vote that may be cast behind the others. */
export async function addVote(
  desk: Desk,
  step: Step,
  stored: StoredProposal,
  { votes, next }: StoredVotes,
  ballot: VerifiedBallot,
  receiveMs: number,
): Promise<{ readonly vote: StoredVote; readonly at: LogHead }> {
  const bytes = envelopeBytes(ballot.envelope);
  const vote = { ...ballot, receiveMs, envelopeSha256: sha256(bytes) };
  step.change.put(TABLE.vote, key(stored.id, next), encodeVote(vote));
  const at = step.log(stored.id, ballot.org, { $case: 'voted', value: bytes });
  const marks = await readMarks(desk, stored);
  const holds = new Set([...marks.holds, ballot.org]);
  await settle(desk, step, { stored, votes: [...votes, vote], marks: { ...marks, holds } });
  return { vote, at };
}
