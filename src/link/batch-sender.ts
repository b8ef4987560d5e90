import type { KeyObject } from 'node:crypto';
import type { BatchOutcome, Limits } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { Status } from '../../gen/ts/google/rpc/status.js';
import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import { INBOX_STATES } from '../messaging/inbox.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import { fromRpcStatus } from '../transport/status.js';
import { encodeBatchFrame } from '../wire/lane-frames.js';
import { joinBlocks, type RecordBlock } from '../wire/records.js';
import { type BatchTerms, MAX_TERMS, type OutgoingBatch, sealBatch } from './batch.js';
import type { Lane } from './lane.js';

/**
 * Batches of one publisher and channel that wait behind others leave as one of up to this size, bytes: signing and verifying cost
 * 0.1 ms a batch whatever its size.
 */
const MERGE_BYTES = 256 * 1024;
/** With so many batches on the way, a small one waits up to GATHER_MS for more of its kind. */
const GATHER_FROM = 8;
const GATHER_MS = 2;
/** Bytes that may wait for one peer before its publishers are told to slow down. */
export const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
/** What a waiting publish costs beside its records, about: many tiny ones must not pass under the cap. */
const ENTRY_BYTES = 512;
/** The longest message of a peer's refusal that is handed on. */
const MAX_REFUSAL_CHARACTERS = 500;

interface Settle {
  resolve(outcome: DeliveryOutcome): void;
  reject(error: FedgateError): void;
}

interface Pending {
  readonly batch: OutgoingBatch;
  readonly requests: NonNullable<OutgoingBatch['requests']>[number][];
  readonly replies: NonNullable<OutgoingBatch['replies']>[number][];
  readonly blocks: RecordBlock[];
  readonly settle: Settle[];
  bytes: number;
  records: number;
  /** Until when it may wait for more of its kind, by the monotonic clock, milliseconds. */
  readonly dueMs: number;
}

/** What is kept of a batch that is on its way: not its records, or the garbage collector would carry all that is in flight along. */
type InFlight = Pick<Pending, 'settle' | 'bytes'>;

/**
 * Sends batches on a mail lane, in the order in which they were given, and matches the outcomes that come back.
 *
 * A batch leaves at once when nothing is on the way. Otherwise it waits for the end of the loop's turn, so that what many callers
 * publish in one turn is signed once. Of requests and answers the first of a turn leaves at once, whatever is on the way: somebody waits. Nothing is written while the stream is full or the peer's limit of unanswered bytes is reached.
 */
export class BatchSender {
  readonly #lane: Lane;
  readonly #terms: BatchTerms;
  readonly #limits: Limits;
  readonly #key: KeyObject;
  readonly #queue = new Fifo<Pending>();
  readonly #inFlight = new Map<number, InFlight>();
  #queuedBytes = 0;
  #inFlightBytes = 0;
  #nextSequence = 1;
  #scheduled = false;
  #gathering: NodeJS.Timeout | undefined;
  #idle: (() => void)[] = [];
  #closed: FedgateError | undefined;
  recordsSent = 0;

  constructor(lane: Lane, terms: BatchTerms, limits: Limits, key: KeyObject) {
    this.#lane = lane;
    this.#terms = terms;
    this.#limits = limits;
    this.#key = key;
    lane.out.onDrain(() => this.#pump());
  }

  get unanswered(): number {
    return this.#inFlight.size;
  }

  /** Resolves with the peer's answer. Rejects with the peer's refusal, LIMIT_REACHED, FRAME_TOO_LARGE, PEER_UNREACHABLE, OUTCOME_UNKNOWN. */
  send(batch: OutgoingBatch): Promise<DeliveryOutcome> {
    if (this.#closed) return Promise.reject(this.#closed);
    const bytes = batch.records.bytes.length;
    if (bytes > this.#limits.maxBatchBytes || batch.records.count > this.#limits.maxBatchRecords) {
      return Promise.reject(
        new FedgateError(
          'FRAME_TOO_LARGE',
          `${this.#terms.recipientOrg} takes batches of up to ${this.#limits.maxBatchBytes} bytes`,
        ),
      );
    }
    if (this.#queuedBytes + bytes + ENTRY_BYTES > MAX_QUEUED_BYTES) {
      const message = `too much waits for ${this.#terms.recipientOrg}`;
      return Promise.reject(
        new FedgateError('LIMIT_REACHED', message, { retryAfterMs: 500, metadata: { limit: 'link queue' } }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#enqueue(batch, bytes, { resolve, reject });
      const first = termsOf(batch) > 0 && !this.#scheduled;
      if (first) this.#schedule();
      if (first || this.#inFlight.size === 0) this.#pump();
      else this.#schedule();
    });
  }

  #enqueue(batch: OutgoingBatch, bytes: number, settle: Settle): void {
    this.#queuedBytes += bytes + ENTRY_BYTES;
    const last = this.#queue.last();
    if (last && this.#mayMerge(last, batch, bytes)) {
      last.blocks.push(batch.records);
      last.requests.push(...(batch.requests ?? []));
      last.replies.push(...(batch.replies ?? []));
      last.settle.push(settle);
      last.bytes += bytes;
      last.records += batch.records.count;
    } else {
      this.#queue.push({
        batch,
        requests: [...(batch.requests ?? [])],
        replies: [...(batch.replies ?? [])],
        blocks: [batch.records],
        settle: [settle],
        bytes,
        records: batch.records.count,
        dueMs: performance.now() + GATHER_MS,
      });
    }
  }

  #mayMerge(last: Pending, batch: OutgoingBatch, bytes: number): boolean {
    const fits =
      last.bytes + bytes <= Math.min(MERGE_BYTES, this.#limits.maxBatchBytes) &&
      last.records + batch.records.count <= this.#limits.maxBatchRecords;
    const termsFit = termsOf(last) + termsOf(batch) <= MAX_TERMS;
    return fits && termsFit && sameStream(last.batch, batch);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (let next = this.#queue.peek(); next && this.#mayWrite(next); next = this.#queue.peek()) {
      if (this.#shouldGather(next)) return this.#gather();
      this.#queue.shift();
      this.#queuedBytes -= next.bytes + next.settle.length * ENTRY_BYTES;
      this.#write(next);
    }
  }

  /** With this much on the way the peer is busy anyway: what is small waits a moment for more of its kind (as RFC 896 does). */
  #shouldGather(next: Pending): boolean {
    const alone = this.#queue.length === 1 && termsOf(next.batch) === 0;
    return (
      alone && next.bytes < MERGE_BYTES / 2 && this.#inFlight.size >= GATHER_FROM && performance.now() < next.dueMs
    );
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#pump();
    }, GATHER_MS);
  }

  #mayWrite(pending: Pending): boolean {
    if (!this.#lane.out.writable) return false;
    return this.#inFlight.size === 0 || this.#inFlightBytes + pending.bytes <= this.#limits.maxInFlightBytes;
  }

  #write(pending: Pending): void {
    const sequence = this.#nextSequence++;
    const records = joinBlocks(pending.blocks);
    const { requests, replies } = pending;
    const { channel, senderNode, patienceMs } = pending.batch;
    const batch = { channel, senderNode, patienceMs, records, requests, replies };
    const sealed = sealBatch(batch, this.#terms, sequence, this.#key, Date.now());
    this.#inFlight.set(sequence, { settle: pending.settle, bytes: pending.bytes });
    this.#inFlightBytes += pending.bytes;
    this.recordsSent += records.count;
    this.#lane.out.put(encodeBatchFrame(sealed));
  }

  /** Takes an answer. Throws FRAME_UNEXPECTED for a batch that was not sent or was answered already. */
  settle(outcome: BatchOutcome): void {
    const sequence = Number(outcome.sequence);
    const pending = this.#inFlight.get(sequence);
    if (!pending) throw new FedgateError('FRAME_UNEXPECTED', `an outcome for batch ${sequence}, which waits for none`);
    this.#inFlight.delete(sequence);
    this.#inFlightBytes -= pending.bytes;
    if (outcome.error) {
      const error = refusalOf(outcome.error, this.#terms.recipientOrg);
      for (const { reject } of pending.settle) reject(error);
    } else {
      const { subscribers, dropped } = outcome;
      const inbox = INBOX_STATES[outcome.inbox];
      for (const { resolve } of pending.settle) resolve({ subscribers, dropped, ...(inbox ? { inbox } : {}) });
    }
    this.#pump();
    if (this.#inFlight.size === 0 && this.#queue.length === 0) this.#becomeIdle();
  }

  /** Resolves when every batch is answered. */
  idle(): Promise<void> {
    if (this.#inFlight.size === 0 && this.#queue.length === 0) return Promise.resolve();
    return new Promise(resolve => this.#idle.push(resolve));
  }

  /** Ends it. What was not sent was not delivered; of what was sent and not answered nobody knows. Returns how many batches the latter are. */
  close(reason: FedgateError): number {
    clearTimeout(this.#gathering);
    const lost = this.#inFlight.size;
    this.#inFlightBytes = 0;
    this.#queuedBytes = 0;
    const org = this.#terms.recipientOrg;
    const unknown = new FedgateError(
      'OUTCOME_UNKNOWN',
      `the link to ${org} ended before the answer: ${reason.message}`,
      { metadata: { org } },
    );
    const unsent = new FedgateError('PEER_UNREACHABLE', `the link to ${org} ended: ${reason.message}`, {
      metadata: { org },
      retryAfterMs: 1000,
    });
    this.#closed = unsent;
    for (const pending of this.#inFlight.values()) for (const { reject } of pending.settle) reject(unknown);
    for (const pending of this.#queue.drain()) for (const { reject } of pending.settle) reject(unsent);
    this.#inFlight.clear();
    this.#becomeIdle();
    return lost;
  }

  #becomeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** What a peer's refusal is to those who asked. It chooses what it refuses with; it must not choose how much of our publisher's answer that fills, nor blame a defect of ours. */
export function refusalOf(status: Status, org: string): FedgateError {
  const { reason, message, fields, retryAfterMs } = fromRpcStatus(status);
  const cut = message.length > MAX_REFUSAL_CHARACTERS ? `${message.slice(0, MAX_REFUSAL_CHARACTERS)}…` : message;
  if (reason === 'INTERNAL') return new FedgateError('OUTCOME_UNKNOWN', `${org} failed: ${cut}`, { metadata: { org } });
  return new FedgateError(reason, cut, {
    metadata: { org },
    fields: fields.slice(0, 8).map(({ field, description }) => ({
      field: field.slice(0, 100),
      description: description.slice(0, MAX_REFUSAL_CHARACTERS),
    })),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

const termsOf = ({ requests, replies }: Pick<OutgoingBatch, 'requests' | 'replies'>): number =>
  (requests?.length ?? 0) + (replies?.length ?? 0);

const kindOf = ({ requests, replies }: OutgoingBatch): number => (requests?.length ? 1 : replies?.length ? 2 : 0);

const sameStream = (a: OutgoingBatch, b: OutgoingBatch): boolean =>
  a.channel === b.channel && a.senderNode === b.senderNode && a.patienceMs === b.patienceMs && kindOf(a) === kindOf(b);
