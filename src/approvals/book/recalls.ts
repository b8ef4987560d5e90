import { FedgateError, fieldError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { MAX_REASON_BYTES } from '../statement/rules.js';
import { type Desk, findProposal, needProposal, readMarks, readVotes } from './desk.js';
import { closed } from './own-votes.js';
import { cut } from './refusing.js';
import { concerned } from './sending.js';
import { settle } from './settle.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';

/** Withdraws a proposal of the own organisation. Rejects as `withdraw` does. */
export async function recallOwn(desk: Desk, step: Step, id: Buffer, reason: string): Promise<void> {
  if (Buffer.byteLength(reason) > MAX_REASON_BYTES) throw fieldError('reason', `longer than ${MAX_REASON_BYTES} bytes`);
  const stored = await needProposal(desk, id);
  const { proposer } = stored.facts;
  if (proposer !== desk.options.org) {
    throw new FedgateError('NOT_GRANTED', `the proposal is one of ${proposer}, which alone can withdraw it`);
  }
  if (stored.end) throw closed(stored.facts.id, stored.end.state);
  await recall(desk, step, stored, reason);
  for (const org of concerned(desk, stored)) step.send(org, { $case: 'recall', value: { proposalId: id, reason } });
}

/** Takes the withdrawal that its proposer sent: of one that has ended it is only written down. Throws PROPOSAL_UNKNOWN, NOT_GRANTED, STORE_*. */
export async function takeRecall(desk: Desk, step: Step, from: OrgName, id: Buffer, reason: string): Promise<void> {
  const stored = await findProposal(desk, id);
  if (!stored) throw new FedgateError('PROPOSAL_UNKNOWN', 'the withdrawal of a proposal that is not here');
  if (stored.facts.proposer !== from) {
    throw new FedgateError('IDENTITY_MISMATCH', `${from} withdrew a proposal of ${stored.facts.proposer}`);
  }
  if (!stored.recalled) await recall(desk, step, stored, cut(reason));
}

async function recall(desk: Desk, step: Step, stored: StoredProposal, reason: string): Promise<void> {
  const { proposer } = stored.facts;
  step.log(stored.id, proposer, { $case: 'recalled', value: reason });
  const { votes } = await readVotes(desk, stored);
  const marks = await readMarks(desk, stored);
  const withdrawn = `${proposer} withdrew it: ${reason}`;
  await settle(desk, step, { stored: { ...stored, recalled: true }, votes, marks, withdrawn });
}
