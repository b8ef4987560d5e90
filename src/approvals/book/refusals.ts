import type { Exchange_Refusal } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { type Desk, findProposal, readMarks, readVotes } from './desk.js';
import { isConcerned } from './receipts.js';
import { cut } from './refusing.js';
import { settle } from './settle.js';
import type { Step } from './step.js';

/** Notes that an organisation does not take a proposal of ours, once. Throws PROPOSAL_UNKNOWN, STORE_*. */
export async function takeRefusal(desk: Desk, step: Step, from: OrgName, refusal: Exchange_Refusal): Promise<void> {
  const stored = await findProposal(desk, Buffer.from(refusal.proposalId));
  if (!stored || stored.facts.proposer !== desk.options.org || !isConcerned(stored, from)) {
    throw new FedgateError('PROPOSAL_UNKNOWN', `${from} refused what was not sent to it`);
  }
  const marks = await readMarks(desk, stored);
  if (marks.refusals.has(from)) return;
  const text = cut(`${refusal.reason}: ${refusal.message}`);
  step.log(stored.id, from, {
    $case: 'refused',
    value: { reason: cut(refusal.reason), message: cut(refusal.message), sha256: sha256(stored.statement) },
  });
  const { votes } = await readVotes(desk, stored);
  await settle(desk, step, {
    stored,
    votes,
    marks: { ...marks, refusals: new Map([...marks.refusals, [from, text]]) },
  });
}
