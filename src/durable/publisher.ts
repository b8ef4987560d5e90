import { FedgateError, fieldError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Address } from '../messaging/address.js';
import type { AckLevel, DurableOutcome, DurablePath } from '../messaging/publisher.js';
import type { PublishFrame } from '../wire/messaging-frames.js';
import type { Idempotency, Log, Outbox, OutgoingRecords } from './types.js';

export interface DurablePublisherOptions {
  readonly org: OrgName;
  readonly log: Log;
  /** Throws ORG_UNKNOWN, ORG_INACTIVE, SNAPSHOT_EXPIRED: for an organisation that is no active member nothing is stored. */
  readonly outbox: (org: OrgName) => Outbox;
  readonly wanted: (channel: string) => boolean;
  /** Resolves when a durable subscription of the own organisation acknowledged the records from this offset on. */
  readonly consumedHere: (offset: number, count: number, signal: AbortSignal) => Promise<void>;
  /** Fires when the gateway stops: no answer is waited for any more. */
  readonly draining: AbortSignal;
}

/** The bounds of messaging_service.proto. */
const MAX_TTL_MS = 30 * 86_400_000;
const MAX_ACK_TIMEOUT_MS = 86_400_000;
const DEFAULT_ACK_TIMEOUT_MS = 30_000;
const MAX_DEDUPE_ID_BYTES = 128;
const MAX_PRODUCER_ID_BYTES = 64;

const LEVELS: readonly (AckLevel | undefined)[] = ['stored', 'stored', 'received', 'consumed'];

interface Wanted {
  readonly level: AckLevel;
  readonly timeoutMs: number;
}

/** Stores what is published to be kept, and answers once it is where the publisher wants it. */
export class DurablePublisher implements DurablePath {
  readonly #options: DurablePublisherOptions;

  constructor(options: DurablePublisherOptions) {
    this.#options = options;
  }

  wanted(channel: string): boolean {
    return this.#options.wanted(channel);
  }

  publish(node: string, address: Address, frame: PublishFrame, audience?: string): Promise<DurableOutcome> {
    const { org } = this.#options;
    const { ackTimeoutMs } = frame;
    const level = LEVELS[frame.ack];
    if (level === undefined) throw fieldError('ack', `${frame.ack} is not known`);
    if (ackTimeoutMs > MAX_ACK_TIMEOUT_MS) throw fieldError('ack_timeout_ms', `is over ${MAX_ACK_TIMEOUT_MS}`);
    const outgoing = toOutgoing(node, address.channel, frame, level === 'consumed', audience);
    const wanted = { level, timeoutMs: ackTimeoutMs || DEFAULT_ACK_TIMEOUT_MS };
    return address.org === org ? this.#publishHere(outgoing, wanted) : this.#publishTo(address.org, outgoing, wanted);
  }

  // The two below hold on to no records while they wait: many publishes are on their way at once, and whatever they keep the garbage
  // collector carries along.

  #publishHere(outgoing: OutgoingRecords, wanted: Wanted): Promise<DurableOutcome> {
    const { org, log, consumedHere } = this.#options;
    const { level } = wanted;
    const { count } = outgoing.records;
    return log.append(outgoing).then(async ({ offset, duplicate }) => {
      // What is stored here is received here.
      if (level === 'consumed') await this.#within(wanted, 'received', signal => consumedHere(offset, count, signal));
      return { org, side: 'local', level, duplicate, streamEpoch: 0n, sequence: offset };
    });
  }

  #publishTo(org: OrgName, outgoing: OutgoingRecords, wanted: Wanted): Promise<DurableOutcome> {
    const outbox = this.#options.outbox(org);
    const { level } = wanted;
    return outbox.append(outgoing).then(async ({ epoch, sequence, duplicate }) => {
      const at = { epoch, sequence };
      if (level !== 'stored') await this.#within(wanted, 'stored', signal => outbox.received(at, signal));
      if (level === 'consumed') await this.#within(wanted, 'received', signal => outbox.consumed(at, signal));
      return { org, side: 'remote', level, duplicate, streamEpoch: epoch, sequence };
    });
  }

  /** Waits for a level. What is stored stays stored, whatever becomes of the waiting. */
  async #within(
    { level, timeoutMs }: Wanted,
    reached: AckLevel,
    wait: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { draining } = this.#options;
    const giveUp = new AbortController();
    const late = (): void => giveUp.abort(timeout(level, reached, timeoutMs));
    const drain = (): void => giveUp.abort(draining.reason);
    const timer = setTimeout(late, timeoutMs);
    draining.addEventListener('abort', drain, { once: true });
    try {
      if (draining.aborted) throw draining.reason;
      await wait(giveUp.signal);
    } catch (error) {
      throw giveUp.signal.aborted ? giveUp.signal.reason : error;
    } finally {
      clearTimeout(timer);
      draining.removeEventListener('abort', drain);
    }
  }
}

const timeout = (wanted: AckLevel, reached: AckLevel, timeoutMs: number): FedgateError =>
  new FedgateError(
    'ACK_TIMEOUT',
    `${reached}, but not ${wanted} within ${timeoutMs / 1000} s; the records are kept and sent`,
    {
      metadata: { level: reached },
    },
  );

function toOutgoing(
  node: string,
  channel: string,
  frame: PublishFrame,
  notifyConsumed: boolean,
  audience: string | undefined,
): OutgoingRecords {
  if (frame.ttlMs > MAX_TTL_MS) throw fieldError('ttl_ms', `is over ${MAX_TTL_MS}`);
  const given = idempotencyOf(frame);
  const idempotency = given && audience !== undefined ? perOrganisation(given, audience) : given;
  return { channel, senderNode: node, records: frame.records, ttlMs: frame.ttlMs, notifyConsumed, idempotency };
}

function idempotencyOf(frame: PublishFrame): Idempotency | undefined {
  const { dedupeId, producerId, producerEpoch: epoch, producerSequence: sequence } = frame;
  if (dedupeId !== '') {
    if (producerId !== '') throw fieldError('dedupe_id', 'cannot be given together with producer_id');
    checkText('dedupe_id', dedupeId, MAX_DEDUPE_ID_BYTES);
    return { kind: 'id', id: dedupeId };
  }
  if (producerId === '') {
    if (epoch !== 0 || sequence !== 0) throw fieldError('producer_id', 'is needed with an epoch or a sequence');
    return undefined;
  }
  checkText('producer_id', producerId, MAX_PRODUCER_ID_BYTES);
  if (sequence === 0) throw fieldError('producer_sequence', 'begins with 1');
  return { kind: 'producer', id: producerId, epoch, sequence };
}

/** A character that no id of a publisher has. */
const APART = '\ufffd';

/**
 * What is published to several organisations under one number is known in each by that very number: what one did not take leaves no hole that
 * would stop what follows, and repeated it is stored where it is missing, and nowhere twice. The same ids and numbers in the
 * address of one organisation are others.
 */
function perOrganisation(given: Idempotency, audience: string): Idempotency {
  const parts = given.kind === 'id' ? ['id', given.id] : ['producer', given.id, given.epoch, given.sequence];
  return { kind: 'id', id: [audience, ...parts].join(APART) };
}

function checkText(field: string, text: string, most: number): void {
  if (Buffer.byteLength(text) > most) throw fieldError(field, `is longer than ${most} bytes`);
  // Bytes that are no UTF-8 arrive as U+FFFD: different ids would become the same. A zero byte ends a text in the keys of the store.
  if (/[\0\ufffd]/.test(text)) throw fieldError(field, 'has characters that an id may not have');
}
