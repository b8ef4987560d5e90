import { createHash } from 'node:crypto';
import type { Client } from '@grpc/grpc-js';
import {
  ApprovalServiceService as methods,
  Proposal as ProposalMessage,
  ProposalState,
  type WatchProposalsRequest,
} from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';
import { callServerStream, callUnary } from '../../transport/client-calls.js';
import { toProposal, toProposalId } from './convert.js';
import type { Proposal, WatchProposalsOptions } from './types.js';

/** What calls about approvals need of the client they belong to. */
export interface ApprovalsHost {
  /** For calls with small answers. */
  readonly any: Client;
  /** For those that answer with a stream. */
  readonly incoming: Client;
  /** Resolves when the gateway is back. Rejects when it is there and refuses us, or the client is closed. */
  reconnected(error: FedgateError): Promise<void>;
}

/** For calls that the own gateway answers by itself, milliseconds. */
const QUICK = { timeoutMs: 10_000 };

/**
 * Proposals as they change. When the connection breaks it goes on once it is back: what changed meanwhile is told then, and what did not is not
 * told again.
 */
export async function* watchProposals(host: ApprovalsHost, options: WatchProposalsOptions): AsyncGenerator<Proposal> {
  const { id, proposer = '', project = '', signal = new AbortController().signal } = options;
  const request = { proposalId: id === undefined ? Buffer.alloc(0) : toProposalId(id), proposer, project };
  const told = new Told();
  while (!signal.aborted) {
    try {
      for await (const message of told.news(watchOnce(host, request, told.open, signal))) yield toProposal(message);
      throw new FedgateError('DRAINING', 'the gateway ended the watch');
    } catch (error) {
      if (signal.aborted) return;
      // A gateway that stops cuts its calls with CANCELLED; we did not ask for that.
      if (!(error instanceof FedgateError) || !(error.retryable || error.reason === 'CANCELLED')) throw error;
      await untilAborted(host.reconnected(error), signal);
    }
  }
}

/** Those that were open when the stream broke may have been decided since: the new stream does not tell of them, so they are asked for. */
async function* watchOnce(
  { any, incoming }: ApprovalsHost,
  request: WatchProposalsRequest,
  open: readonly Buffer[],
  signal: AbortSignal,
): AsyncGenerator<ProposalMessage> {
  const left = new AbortController();
  const either = AbortSignal.any([signal, left.signal]);
  const stream = callServerStream(incoming, methods.watchProposals, request, either);
  try {
    // Asks for the stream before the single ones, so that nothing happens between the two unseen.
    let next = started(stream);
    const decided = new Set<string>();
    for (const proposalId of open) {
      const { proposal } = await callUnary(any, methods.getProposal, { proposalId }, QUICK);
      // The stream tells of those that are still open.
      if (!proposal || isOpen(proposal)) continue;
      decided.add(idOf(proposal));
      yield proposal;
    }
    for (let item = await next; !item.done; item = await next) {
      next = started(stream);
      const { proposal } = item.value;
      // What the stream said before that answer comes late.
      if (proposal && !(isOpen(proposal) && decided.has(idOf(proposal)))) yield proposal;
    }
  } finally {
    // Ends the call, and with it what was started: a generator does not return before that.
    left.abort();
    await stream.return(undefined);
  }
}

/** What comes next; a failure waits until it is asked for. */
function started<T>(stream: AsyncGenerator<T>): Promise<IteratorResult<T>> {
  const next = stream.next();
  next.catch(() => undefined);
  return next;
}

const isOpen = ({ state }: ProposalMessage): boolean => state === ProposalState.PROPOSAL_STATE_OPEN;
const idOf = ({ id }: ProposalMessage): string => Buffer.from(id).toString('hex');

/** What was told of proposals that are open. */
class Told {
  readonly #digests = new Map<string, string>();

  get open(): Buffer[] {
    return [...this.#digests.keys()].map(id => Buffer.from(id, 'hex'));
  }

  /** Leaves out what was told already. */
  async *news(messages: AsyncIterable<ProposalMessage>): AsyncGenerator<ProposalMessage> {
    for await (const message of messages) {
      const id = idOf(message);
      const digest = createHash('sha256').update(ProposalMessage.encode(message).finish()).digest('base64');
      if (this.#digests.get(id) === digest) continue;
      if (isOpen(message)) this.#digests.set(id, digest);
      else this.#digests.delete(id);
      yield message;
    }
  }
}

function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => resolve();
    signal.addEventListener('abort', done, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', done));
  });
}
