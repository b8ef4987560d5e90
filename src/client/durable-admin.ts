import {
  type DeadLetter,
  type DeadLetterSelection,
  type DropDeadLettersResponse,
  type DurableSubscription,
  type ExportEvidenceRequest,
  type GetDeadLetterResponse,
  type GetOutboxResponse,
  type GetStoreStatsResponse,
  type ListDeadLettersRequest,
  type ListDeadLettersResponse,
  DurableServiceService as methods,
  type Outbox,
  type PurgeOutboxResponse,
  type RedriveDeadLettersResponse,
} from '../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { FedgateError } from '../errors.js';
import { callServerStream, callUnary } from '../transport/client-calls.js';
import type { Connections } from './connections.js';
import { type From, toPosition } from './durable-options.js';

/** For calls whose work does not grow with what is stored, milliseconds. */
const QUICK = { timeoutMs: 10_000 };
/** For calls that may go through all that is stored, milliseconds. */
const LONG = { timeoutMs: 600_000 };

const NO_DIRECTION: DeadLetter['direction'] = 0;

/**
 * What the gateway has stored, as its operator sees and moves it. Subscriptions are for every node that may subscribe to their pattern,
 * all else for nodes that are granted `admin`. Every method rejects with FedgateError; NOT_GRANTED, and the reasons of the contract.
 */
export class DurableAdmin {
  readonly #connections: Connections;

  /** Use `client.durable`. */
  constructor(connections: Connections) {
    this.#connections = connections;
  }

  async listSubscriptions(): Promise<readonly DurableSubscription[]> {
    return (await callUnary(this.#connections.any, methods.listSubscriptions, {}, QUICK)).subscriptions;
  }

  async getSubscription(name: string): Promise<DurableSubscription> {
    return present((await callUnary(this.#connections.any, methods.getSubscription, { name }, QUICK)).subscription);
  }

  async deleteSubscription(name: string): Promise<void> {
    await callUnary(this.#connections.any, methods.deleteSubscription, { name }, QUICK);
  }

  /** Everything from there on is delivered, also what was acknowledged before. */
  async seekSubscription(name: string, to: From): Promise<DurableSubscription> {
    const request = { name, position: toPosition(to) };
    return present((await callUnary(this.#connections.any, methods.seekSubscription, request, QUICK)).subscription);
  }

  async listOutboxes(): Promise<readonly Outbox[]> {
    return (await callUnary(this.#connections.any, methods.listOutboxes, {}, QUICK)).outboxes;
  }

  /** With the first batches that wait in it: 20 unless told. */
  getOutbox(org: string, maxBatches = 0): Promise<GetOutboxResponse> {
    return callUnary(this.#connections.any, methods.getOutbox, { org, maxBatches }, QUICK);
  }

  async setOutboxPaused(org: string, paused: boolean): Promise<Outbox> {
    return present((await callUnary(this.#connections.any, methods.setOutboxPaused, { org, paused }, QUICK)).outbox);
  }

  /** Drops what waits for an organisation. */
  purgeOutbox(org: string): Promise<PurgeOutboxResponse> {
    return callUnary(this.#connections.any, methods.purgeOutbox, { org }, LONG);
  }

  /** Oldest first. */
  listDeadLetters(filter: Partial<ListDeadLettersRequest> = {}): Promise<ListDeadLettersResponse> {
    const all = { direction: NO_DIRECTION, subscription: '', org: '', pageSize: 0, afterId: 0n };
    return callUnary(this.#connections.any, methods.listDeadLetters, { ...all, ...filter }, QUICK);
  }

  getDeadLetter(id: bigint): Promise<GetDeadLetterResponse> {
    return callUnary(this.#connections.any, methods.getDeadLetter, { id }, QUICK);
  }

  /** Tries dead letters again. An empty selection is all of them. */
  redrive(selection: Partial<DeadLetterSelection>): Promise<RedriveDeadLettersResponse> {
    return callUnary(this.#connections.any, methods.redriveDeadLetters, { selection: whole(selection) }, LONG);
  }

  /** Forgets dead letters. An empty selection is all of them. */
  drop(selection: Partial<DeadLetterSelection>): Promise<DropDeadLettersResponse> {
    return callUnary(this.#connections.any, methods.dropDeadLetters, { selection: whole(selection) }, LONG);
  }

  getStoreStats(): Promise<GetStoreStatsResponse> {
    return callUnary(this.#connections.any, methods.getStoreStats, {}, QUICK);
  }

  /** The pieces of an evidence file. Leaving the loop ends the call. */
  async *exportEvidence(
    filter: Partial<ExportEvidenceRequest> = {},
    signal: AbortSignal = new AbortController().signal,
  ): AsyncGenerator<Buffer> {
    const all = { org: '', pattern: '', fromTimeMs: 0n, toTimeMs: 0n, withoutRecords: false, direction: NO_DIRECTION };
    const request = { ...all, ...filter };
    for await (const { chunk } of callServerStream(
      this.#connections.incoming,
      methods.exportEvidence,
      request,
      signal,
    )) {
      yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
  }
}

const whole = (selection: Partial<DeadLetterSelection>): DeadLetterSelection => ({
  ids: [],
  direction: NO_DIRECTION,
  subscription: '',
  org: '',
  ...selection,
});

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new FedgateError('FRAME_MALFORMED', 'the gateway left a field out of its answer');
  return value;
}
