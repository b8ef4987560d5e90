import { Exchange, ReceiptBody } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { FedgateError } from '../../errors.js';
import { readBallot } from './ballot.js';
import { takeBallot } from './ballots.js';
import type { Desk } from './desk.js';
import type { EarlyVote } from './early-votes.js';
import { toEnvelope } from './envelopes.js';
import type { Waiting } from './inbox.js';
import { takeOffer } from './offers.js';
import { takeRecall } from './recalls.js';
import { takeReceipt } from './receipts.js';
import { takeRefusal } from './refusals.js';
import { refusalOf, refuse } from './refusing.js';
import { Step } from './step.js';
import { TABLE } from './tables.js';

/**
 * Looks at what another gateway said, in a change that also removes it: it has its effects once. Resolves with the id of a proposal that is new,
 * for which votes may wait. Rejects with STORE_*: then it waits as before.
 */
export async function lookAt(desk: Desk, waiting: Waiting, done: () => void): Promise<Buffer | undefined> {
  const step = new Step(desk);
  try {
    const made = await look(desk, step, waiting);
    step.change.remove(TABLE.inbox, waiting.rowKey);
    step.after(done);
    await step.commit();
    return made;
  } catch (error) {
    const refusal = refusalOf(error);
    if (!refusal) throw error;
    await refuseInstead(desk, waiting, refusal, done);
    return undefined;
  }
}

async function look(desk: Desk, step: Step, { from, receiveMs, exchange }: Waiting): Promise<Buffer | undefined> {
  const { what } = decode(exchange);
  switch (what?.$case) {
    case 'offer':
      return takeOffer(desk, step, from, what.value, receiveMs);
    case 'ballot':
      await takeBallot(desk, step, from, what.value.envelope, receiveMs);
      return undefined;
    case 'recall':
      await takeRecall(desk, step, from, Buffer.from(what.value.proposalId), what.value.reason);
      return undefined;
    case 'receipt':
      await takeReceipt(desk, step, from, what.value);
      return undefined;
    case 'refusal':
      await takeRefusal(desk, step, from, what.value);
      return undefined;
    default:
      // Of a newer version.
      return undefined;
  }
}

function decode(exchange: Buffer): Exchange {
  try {
    return Exchange.decode(exchange);
  } catch (cause) {
    throw new FedgateError('FRAME_MALFORMED', 'a message about approvals that is none', { cause });
  }
}

/** Nothing of the step that failed is used. */
async function refuseInstead(desk: Desk, waiting: Waiting, error: FedgateError, done: () => void): Promise<void> {
  const step = new Step(desk);
  refuse(desk, step, waiting.from, proposalOf(waiting.exchange), waiting.exchange, error);
  step.change.remove(TABLE.inbox, waiting.rowKey);
  step.after(done);
  await step.commit();
}

/** Looks once more at a vote that waited. Rejects with STORE_*: then it waits as before. */
export async function retryEarly(desk: Desk, early: EarlyVote): Promise<void> {
  const step = new Step(desk);
  try {
    await takeBallot(desk, step, early.org, early.envelope, early.receiveMs, early);
    await step.commit();
  } catch (error) {
    const refusal = refusalOf(error);
    if (!refusal) throw error;
    const instead = new Step(desk);
    refuse(desk, instead, early.org, early.rowKey.subarray(0, 16), early.envelope.payload, refusal);
    desk.early.remove(instead, early);
    await instead.commit();
  }
}

/** The proposal that a message which was refused is said to be about, when it says so itself. */
function proposalOf(exchange: Buffer): Buffer {
  try {
    const { what } = Exchange.decode(exchange);
    if (what?.$case === 'recall' || what?.$case === 'refusal')
      return Buffer.from(what.value.proposalId.subarray(0, 16));
    if (what?.$case === 'receipt') return Buffer.from(ReceiptBody.decode(what.value.body).proposalId.subarray(0, 16));
    if (what?.$case === 'ballot' && what.value.envelope) return readBallot(toEnvelope(what.value.envelope)).id;
  } catch {
    // It says nothing that can be read.
  }
  return Buffer.alloc(0);
}
