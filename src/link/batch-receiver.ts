import type { KeyObject } from 'node:crypto';
import type { BatchHeader, BatchOutcome } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError } from '../errors.js';
import { inboxNumber } from '../messaging/inbox.js';
import type { DeliveryOutcome } from '../messaging/router.js';
import { toRpcStatus } from '../transport/status.js';
import type { SealedBatch } from '../wire/lane-frames.js';
import type { RecordBlock } from '../wire/records.js';
import { type BatchTerms, openBatch } from './batch.js';
import { MAX_IN_FLIGHT_BYTES } from './hello.js';
import type { Lane } from './lane.js';

/** Takes a verified batch: answers to how many it went, or throws why it is refused. */
export type ReceiveBatch = (header: BatchHeader, records: RecordBlock) => DeliveryOutcome | Promise<DeliveryOutcome>;

/**
 * How long the outcome of a batch of requests or answers may wait for others, so many of them and so many bytes: nobody waits for it, and
 * one for each would wake the peer twice for every request.
 */
const LAZY_MS = 20;
const LAZY_OUTCOMES = 64;
const LAZY_BYTES = 1024 * 1024;

/** Answers that may wait for a peer that does not read them. */
const MAX_UNREAD_OUTCOMES = 65_536;

/** Verifies the batches of a mail lane one by one and answers each. A refusal is an answer; a lie ends the lane. */
export class BatchReceiver {
  readonly #lane: Lane;
  readonly #terms: BatchTerms;
  readonly #key: KeyObject;
  readonly #receive: ReceiveBatch;
  readonly #admit: (header: BatchHeader) => void;
  #nextSequence = 1;
  #unansweredBytes = 0;
  #unreadOutcomes = 0;
  #lazy: { readonly bytes: number; readonly value: BatchOutcome }[] = [];
  #lazyBytes = 0;
  #lazyTimer: NodeJS.Timeout | undefined;
  recordsReceived = 0;

  /** `admit` throws when a batch must end the lane. */
  constructor(
    lane: Lane,
    terms: BatchTerms,
    key: KeyObject,
    receive: ReceiveBatch,
    admit: (header: BatchHeader) => void = () => undefined,
  ) {
    this.#lane = lane;
    this.#terms = terms;
    this.#key = key;
    this.#receive = receive;
    this.#admit = admit;
  }

  /** Throws what must end the lane. */
  take(sealed: SealedBatch): void {
    const header = openBatch(sealed, this.#terms, this.#nextSequence, this.#key);
    this.#admit(header);
    this.#nextSequence++;
    const bytes = sealed.records.bytes.length;
    this.#unansweredBytes += bytes;
    if (this.#unansweredBytes > MAX_IN_FLIGHT_BYTES) {
      throw new FedgateError('LIMIT_REACHED', `${this.#terms.originOrg} sent more than its limit of unanswered bytes`, {
        metadata: { limit: 'in flight' },
      });
    }
    this.recordsReceived += sealed.records.count;
    this.#deliver(header, sealed.records, bytes);
  }

  #deliver(header: BatchHeader, records: RecordBlock, bytes: number): void {
    // Only this much of the header is kept until the answer: its byte fields are views on the whole frame.
    const { sequence } = header;
    const lazy = header.requests.length + header.replies.length > 0;
    try {
      const outcome = this.#receive(this.#withPatience(header), records);
      if (!(outcome instanceof Promise))
        return lazy ? this.#answerLazily(sequence, bytes, outcome) : this.#answer(sequence, bytes, outcome);
      this.#answerLater(sequence, bytes, outcome);
    } catch (error) {
      this.#refuse(sequence, bytes, error);
    }
  }

  /** What is held for patient publishers must leave room for the rest of the peer's traffic. */
  #withPatience(header: BatchHeader): BatchHeader {
    if (header.patienceMs === 0 || this.#unansweredBytes <= MAX_IN_FLIGHT_BYTES / 2) return header;
    return { ...header, patienceMs: 0 };
  }

  #answerLater(sequence: bigint, bytes: number, outcome: Promise<DeliveryOutcome>): void {
    outcome.then(
      settled => this.#answer(sequence, bytes, settled),
      error => this.#refuse(sequence, bytes, error),
    );
  }

  #answerLazily(sequence: bigint, bytes: number, { subscribers, dropped, inbox }: DeliveryOutcome): void {
    this.#lazy.push({ bytes, value: { sequence, subscribers, dropped, error: undefined, inbox: inboxNumber(inbox) } });
    this.#lazyBytes += bytes;
    if (this.#lazy.length >= LAZY_OUTCOMES || this.#lazyBytes >= LAZY_BYTES) this.#flushLazy();
    else this.#lazyTimer ??= setTimeout(() => this.#flushLazy(), LAZY_MS);
  }

  #flushLazy(): void {
    clearTimeout(this.#lazyTimer);
    this.#lazyTimer = undefined;
    this.#lazyBytes = 0;
    for (const { bytes, value } of this.#lazy.splice(0)) this.#put(bytes, value);
  }

  #answer(sequence: bigint, bytes: number, { subscribers, dropped, inbox }: DeliveryOutcome): void {
    this.#put(bytes, { sequence, subscribers, dropped, error: undefined, inbox: inboxNumber(inbox) });
  }

  #refuse(sequence: bigint, bytes: number, thrown: unknown): void {
    const error =
      thrown instanceof FedgateError ? thrown : new FedgateError('INTERNAL', 'internal error', { cause: thrown });
    this.#put(bytes, { sequence, subscribers: 0, dropped: 0, error: toRpcStatus(error), inbox: 0 });
  }

  #put(bytes: number, value: BatchOutcome): void {
    this.#unansweredBytes -= bytes;
    this.#unreadOutcomes = this.#lane.out.writable ? 0 : this.#unreadOutcomes + 1;
    if (this.#unreadOutcomes > MAX_UNREAD_OUTCOMES) {
      this.#lane.close(
        new FedgateError('LIMIT_REACHED', `${this.#terms.originOrg} does not read its answers`, {
          metadata: { limit: 'outcomes' },
        }),
      );
    } else {
      this.#lane.put({ $case: 'batchOutcome', value });
    }
  }
}
