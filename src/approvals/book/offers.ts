import type { Exchange_Offer } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { MAX_WINDOW_MS } from '../statement/rules.js';
import { parseStatement } from '../statement/statement.js';
import type { ProposalFacts } from '../types.js';
import { type Desk, findProposal, NO_MARKS } from './desk.js';
import type { LogHead } from './log.js';
import { giveReceipt } from './receipts.js';
import { cut, refuse } from './refusing.js';
import { readSequence, writeSequence } from './sequences.js';
import { settle } from './settle.js';
import type { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';

const MAX_SHARE_BYTES = 256;

/**
 * Takes a proposal of another organisation, or tells its gateway why not. Resolves with its id when it is there now and was not before.
 *
 * Throws STATEMENT_INVALID for what is none, STORE_*.
 */
export async function takeOffer(
  desk: Desk,
  step: Step,
  from: OrgName,
  offer: Exchange_Offer,
  receiveMs: number,
): Promise<Buffer | undefined> {
  const statement = Buffer.from(offer.statement);
  const parsed = parseStatement(statement);
  if (parsed.kind !== 'approval') {
    throw new FedgateError('STATEMENT_INVALID', 'what is offered is a reply to a proposal, and none itself');
  }
  const facts = parsed.proposal;
  const id = Buffer.from(facts.id, 'hex');
  try {
    const held = await findProposal(desk, id);
    if (held?.statement.equals(statement)) return undefined;
    if (held) throw forked(from, held);
    await check(desk, step, from, facts, offer);
    const { artifactShare, contentsShare } = offer;
    const at = await addProposal(desk, step, { id, facts, statement, artifactShare, contentsShare, receiveMs });
    giveReceipt(desk, step, from, { id, subjectSha256: sha256(statement), receiveMs, at });
    return id;
  } catch (error) {
    if (!(error instanceof FedgateError) || error.reason.startsWith('STORE_')) throw error;
    const said = refuse(desk, step, from, id, statement, error);
    // Whoever is not its proposer need not learn anything, nor who floods.
    if (!said || facts.proposer !== from) return undefined;
    const { reason, message } = error;
    step.send(from, { $case: 'refusal', value: { proposalId: id, reason, message: cut(message) } });
    return undefined;
  }
}

async function check(
  desk: Desk,
  { nowMs }: Step,
  from: OrgName,
  facts: ProposalFacts,
  { artifactShare, contentsShare }: Exchange_Offer,
): Promise<void> {
  const { org, federation, mayPropose } = desk.options;
  if (facts.proposer !== from) {
    throw new FedgateError('IDENTITY_MISMATCH', `${from} sent a proposal in the name of ${facts.proposer}`);
  }
  if (!mayPropose(from)) {
    throw new FedgateError('NOT_GRANTED', `${org} takes no proposals from ${from}`);
  }
  if (facts.federation !== federation) throw unfit(`it is of the federation ${facts.federation}`);
  if (!facts.approvers.some(approver => approver.org === org)) {
    throw new FedgateError('WRONG_RECIPIENT', `the proposal does not name ${org}`);
  }
  if (facts.notBeforeMs > nowMs + MAX_WINDOW_MS) throw unfit('it begins in more than 366 days');
  if (Math.max(Buffer.byteLength(artifactShare), Buffer.byteLength(contentsShare)) > MAX_SHARE_BYTES) {
    throw unfit('the name of a share is too long');
  }
  const { sequence } = await readSequence(desk, facts);
  if (facts.sequence <= sequence) {
    throw new FedgateError(
      'PROPOSAL_STALE',
      `the sequence of a proposal of ${facts.project} is ${facts.sequence}, and ${sequence} was seen before`,
    );
  }
  desk.index.checkRoom(from);
}

/** Puts a new proposal, of whomever, into a step. Resolves with its place in the log. */
export async function addProposal(
  desk: Desk,
  step: Step,
  made: Omit<StoredProposal, 'number' | 'sha256' | 'end' | 'recalled'>,
): Promise<LogHead> {
  const number = desk.nextNumber;
  const stored = { ...made, number, sha256: sha256(made.statement), end: undefined, recalled: false };
  const { id, facts } = stored;
  const at = step.log(id, facts.proposer, { $case: 'offered', value: stored.statement });
  writeSequence(step, facts);
  step.after(() => {
    desk.nextNumber = number + 1;
    desk.event({ kind: 'proposal', proposal: facts.id, state: 'open', why: '' });
  });
  await settle(desk, step, { stored, votes: [], marks: NO_MARKS });
  step.after(() => desk.wakeBy(desk.index.nextEndOf(id)));
  return at;
}

const forked = (from: string, { facts, sha256: held }: StoredProposal): FedgateError =>
  new FedgateError(
    'PROPOSAL_FORKED',
    `${from} sent another statement under the id of a proposal of ${facts.proposer}, of which ${held.toString('hex')} is held`,
  );

const unfit = (why: string): FedgateError => new FedgateError('STATEMENT_INVALID', `the proposal is not taken: ${why}`);
