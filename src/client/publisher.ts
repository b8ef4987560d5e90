import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import { MessagingServiceService, PublishStreamResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { Fifo } from '../fifo.js';
import { fromGrpcError, fromRpcStatus } from '../transport/status.js';
import type { RecordInit } from '../wire/record-codec.js';
import { MAX_RECORD_BYTES } from '../wire/records.js';
import { checkAddress, checkRecord, recordSize, tooLarge } from './checks.js';
import { OutgoingFrame } from './outgoing-frame.js';
import type { ChosenProducer } from './producer.js';
import type { ProducerLane } from './producer-lane.js';
import { ProducerLanes } from './producer-lanes.js';
import { type PublishReport, toReport } from './report.js';
import { checkTerms, sameTerms, type Terms } from './terms.js';

/** Frames are filled up to this, bytes. */
const FRAME_BYTES = 64 * 1024;
/** The same for records that may be stored, while the frame cannot leave yet: what is synced to a disk is best large. */
const DURABLE_FRAME_BYTES = 256 * 1024;
/** Bytes sent and not answered. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** The same while frames are stored: answers come in groups, after a disk. As much as a gateway reads without having answered. */
const DURABLE_WINDOW_BYTES = 8 * 1024 * 1024;
/** Bytes that may wait in this process; `publish` refuses beyond. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

export interface StreamPublisherOptions extends ChosenProducer {
  readonly channel: () => Client;
  /** How long what a broken stream carried may wait for the next, milliseconds. */
  readonly timeoutMs: number;
  readonly onBroken: (error: FedgateError) => void;
}

type Call = ClientDuplexStream<Buffer, PublishStreamResponse>;

/**
 * Publishes over one PublishStream that is opened when it is needed and again after it broke.
 *
 * Records of one turn of the loop to one address share a frame, and so do those that wait; frames of one address leave in order, addresses
 * take turns. What was on its way when the stream broke is sent again on the next, under the same numbers, but for what
 * was published live: that is rejected with OUTCOME_UNKNOWN.
 */
export class StreamPublisher {
  readonly #options: StreamPublisherOptions;
  readonly #lanes: ProducerLanes;
  /** Lanes that have something to send, each once. */
  readonly #ready = new Fifo<ProducerLane>();
  readonly #sent = new Map<number, { readonly frame: OutgoingFrame; readonly lane: ProducerLane }>();
  readonly #roomWaiters: (() => void)[] = [];
  #lastLane: ProducerLane | undefined;
  #call: Call | undefined;
  #writable = true;
  #scheduled = false;
  #nextId = 1;
  #sentBytes = 0;
  #waitingBytes = 0;
  #blockedUntil: Promise<void> | undefined;
  #closed = false;
  /** What the last frame came to hold: the next one is made that large from the start. */
  #expectedBytes = 0;

  constructor(options: StreamPublisherOptions) {
    this.#options = options;
    this.#lanes = new ProducerLanes(options.producer);
  }

  /** Rejects with what the gateway answers, OUTCOME_UNKNOWN, GATEWAY_UNREACHABLE, LIMIT_REACHED. */
  publish(address: string, record: RecordInit, terms: Terms, nowMs: number): Promise<PublishReport> {
    if (this.#closed) return Promise.reject(closedError());
    const size = recordSize(record);
    if (size > MAX_RECORD_BYTES - 16 * 1024) return Promise.reject(tooLarge(size));
    const problem = checkRecord(record);
    if (problem) return Promise.reject(problem);
    if (this.#waitingBytes > MAX_WAITING_BYTES) return Promise.reject(overflow());
    const last = this.#lastLane;
    let frame = last?.address === address ? this.#openFrame(last, terms, size) : undefined;
    if (!frame) {
      const wrong = checkAddress(address) ?? checkTerms(terms) ?? checkDedupe(record, terms);
      if (wrong) return Promise.reject(wrong);
      const lane = this.#lanes.of(address);
      this.#lastLane = lane;
      frame = this.#openFrame(lane, terms, size) ?? this.#begin(lane, record, terms, size);
    }
    const before = frame.bytes;
    frame.add(record, nowMs);
    this.#waitingBytes += frame.bytes - before;
    return frame.report;
  }

  /** Whether more can be handed in without waiting. */
  get hasRoom(): boolean {
    return this.#waitingBytes < DURABLE_WINDOW_BYTES;
  }

  /** Resolves when there is room, at the latest when the stream breaks. */
  room(): Promise<void> {
    if (this.hasRoom || this.#closed) return Promise.resolve();
    return new Promise(resolve => this.#roomWaiters.push(resolve));
  }

  /** Holds back what was not sent until the promise resolves: the connection is being made again. */
  hold(until: Promise<void>): void {
    const blocked = until.finally(() => {
      if (this.#blockedUntil === blocked) this.#blockedUntil = undefined;
      this.#pump();
    });
    this.#blockedUntil = blocked;
  }

  /** Rejects what has waited to be sent for too long: with the error, or with OUTCOME_UNKNOWN when it was on its way once. */
  expire(error: FedgateError): void {
    const limit = performance.now() - this.#options.timeoutMs;
    this.#rejectWaiting(frame => frame.waitingSinceMs < limit, error);
    if (this.hasRoom) this.#wakeRoom();
  }

  /** Rejects what is not on its way. */
  fail(error: FedgateError): void {
    this.#rejectWaiting(() => true, error);
    this.#wakeRoom();
  }

  /** Sends what is waiting, waits for all answers, and ends the stream. */
  async drain(): Promise<void> {
    this.#pump();
    const waiting = [...this.#lanes].flatMap(lane => lane.unanswered());
    const sent = [...this.#sent.values()].map(({ frame }) => frame);
    await Promise.allSettled([...waiting, ...sent].map(frame => frame.report));
    this.close();
  }

  close(): void {
    this.#closed = true;
    const call = this.#call;
    this.#call = undefined;
    this.#loseSent(unknownOutcome('the client was closed'), false);
    this.fail(closedError());
    call?.end();
  }

  /** The frame that a record on these terms may join. */
  #openFrame(lane: ProducerLane, terms: Terms, size: number): OutgoingFrame | undefined {
    const { open } = lane;
    if (!open || terms.dedupe || !sameTerms(open.terms, terms)) return undefined;
    if (open.bytes + size <= FRAME_BYTES) return open;
    // It leaves now if it can; if not, more may go into it.
    this.#pump();
    return lane.open === open && open.repeatable && open.bytes + size <= DURABLE_FRAME_BYTES ? open : undefined;
  }

  #begin(lane: ProducerLane, record: RecordInit, terms: Terms, size: number): OutgoingFrame {
    if (lane.open) this.#expectedBytes = Math.min(lane.open.bytes, FRAME_BYTES) + 1024;
    const capacity = Math.max(size + 64, 256, this.#expectedBytes);
    const frame = new OutgoingFrame(
      lane.address,
      terms,
      terms.dedupe ? record.id : undefined,
      lane.producer.id,
      capacity,
    );
    this.#waitingBytes += frame.cost;
    lane.push(frame);
    lane.open = frame;
    this.#list(lane);
    this.#schedule();
    return frame;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      // While the connection is made again frames stay those of one turn: each expires by the time it was begun.
      if (this.#blockedUntil !== undefined) for (const lane of this.#ready.toArray()) lane.open = undefined;
      this.#pump();
    });
  }

  #list(lane: ProducerLane): void {
    if (lane.listed) return;
    lane.listed = true;
    this.#ready.push(lane);
  }

  #pump(): void {
    if (this.#blockedUntil !== undefined || this.#closed) return;
    for (let lane = this.#ready.peek(); lane; lane = this.#ready.peek()) {
      const frame = lane.peek();
      if (frame && !this.#mayWrite(frame)) return;
      this.#ready.shift();
      lane.listed = false;
      if (!frame) continue;
      this.#write(lane, frame);
      if (lane.peek()) this.#list(lane);
    }
  }

  #mayWrite(frame: OutgoingFrame): boolean {
    const window = frame.repeatable ? DURABLE_WINDOW_BYTES : WINDOW_BYTES;
    return this.#writable && (this.#sent.size === 0 || this.#sentBytes + frame.cost <= window);
  }

  #write(lane: ProducerLane, frame: OutgoingFrame): void {
    const call = this.#ensureCall();
    const id = this.#nextId++;
    lane.take(frame);
    this.#expectedBytes = Math.min(frame.bytes, FRAME_BYTES) + 1024;
    const bytes = frame.encode(id, lane.producer);
    if (!frame.repeatable) frame.release();
    this.#sent.set(id, { frame, lane });
    this.#sentBytes += frame.cost;
    if (!call.write(bytes)) {
      this.#writable = false;
      call.once('drain', () => {
        if (this.#call !== call) return;
        this.#writable = true;
        this.#pump();
      });
    }
  }

  #ensureCall(): Call {
    if (this.#call) return this.#call;
    const { path } = MessagingServiceService.publishStream;
    const call: Call = this.#options.channel().makeBidiStreamRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => PublishStreamResponse.decode(bytes),
    );
    this.#call = call;
    this.#writable = true;
    call.on('data', (answer: PublishStreamResponse) => {
      if (this.#call === call) this.#answered(answer);
    });
    call.on('error', error => this.#broke(call, fromGrpcError(error)));
    call.on('end', () => this.#broke(call, new FedgateError('DRAINING', 'the gateway ended the stream')));
    return call;
  }

  #answered({ frameId, outcome }: PublishStreamResponse): void {
    const id = Number(frameId);
    const sent = this.#sent.get(id);
    if (!sent || !outcome) return;
    const { frame, lane } = sent;
    const error = outcome.$case === 'error' ? fromRpcStatus(outcome.value) : this.#suspicion(frame, outcome.value);
    // It is stored, and the gateway stops before it is where it is to be: the next one is asked again.
    if (error?.reason === 'DRAINING' && frame.repeatable) return;
    this.#sent.delete(id);
    this.#sentBytes -= frame.cost;
    const again = error?.reason === 'SEQUENCE_GAP' && lane.gap(frame, Number(error.metadata.expected));
    if (!again) {
      lane.answered(frame, !error || error.reason === 'ACK_TIMEOUT');
      this.#waitingBytes -= frame.cost;
      if (error) frame.reject(error);
      else if (outcome.$case === 'result') frame.resolve(toReport(outcome.value));
    }
    if (lane.peek()) this.#list(lane);
    this.#pump();
    if (this.hasRoom) this.#wakeRoom();
  }

  /** What was sent once under a number drawn by this process cannot be known already, unless somebody else uses the same name. */
  #suspicion({ numbered, sends }: OutgoingFrame, { duplicate }: { duplicate: boolean }): FedgateError | undefined {
    if (!duplicate || !numbered || sends > 1 || this.#options.ownEpoch) return undefined;
    const { id, epoch } = this.#options.producer;
    return new FedgateError(
      'PRODUCER_FENCED',
      `producer ${id} with epoch ${epoch} publishes in another program as well; nothing was stored`,
    );
  }

  #broke(call: Call, error: FedgateError): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    // A frame that the gateway could not even read tells what is wrong with it. Sending it again would end the next stream too.
    // One that ends because the token does says nothing of its frames.
    const unreadable =
      (UNREADABLE.has(error.status) && error.reason !== 'TOKEN_EXPIRED') || error.reason === 'FRAME_TOO_LARGE';
    this.#loseSent(unreadable ? error : unknownOutcome(error.message), unreadable);
    // A connection that is there and whose streams break all the time must not keep anybody waiting for ever.
    const limit = performance.now() - this.#options.timeoutMs;
    this.#rejectWaiting(frame => frame.lost && frame.waitingSinceMs < limit, error);
    this.#options.onBroken(error);
    this.#wakeRoom();
    this.#pump();
  }

  /** What was on its way comes back to its lane; what must not be sent again, or `all` of it, is rejected. */
  #loseSent(error: FedgateError, all: boolean): void {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    this.#sentBytes = 0;
    for (const { frame, lane } of sent) {
      if (frame.repeatable && !all) continue;
      lane.answered(frame, false);
      this.#waitingBytes -= frame.cost;
      frame.reject(error);
    }
    const now = performance.now();
    for (const lane of this.#lanes) {
      lane.broke(now);
      if (lane.peek()) this.#list(lane);
    }
  }

  #rejectWaiting(check: (frame: OutgoingFrame) => boolean, error: FedgateError): void {
    for (const lane of this.#lanes) {
      for (const frame of lane.takeWaiting(check)) {
        this.#waitingBytes -= frame.cost;
        frame.reject(frame.lost ? unknownOutcome(error.message) : error);
      }
    }
  }

  #wakeRoom(): void {
    for (const resume of this.#roomWaiters.splice(0)) resume();
  }
}

/** Statuses that a stream ends with because of what was sent on it. */
const UNREADABLE: ReadonlySet<FedgateError['status']> = new Set([
  'INVALID_ARGUMENT',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
]);

const checkDedupe = ({ id }: RecordInit, { dedupe }: Terms): FedgateError | undefined =>
  dedupe && !id ? fieldError('id', 'is needed with dedupe: it is what makes the record known') : undefined;

const unknownOutcome = (why: string): FedgateError =>
  new FedgateError(
    'OUTCOME_UNKNOWN',
    `the connection to the gateway ended before the answer (${why}); the records may or may not have been delivered`,
  );
const closedError = (): FedgateError => new FedgateError('CANCELLED', 'the client is closed');
const overflow = (): FedgateError =>
  new FedgateError('LIMIT_REACHED', 'too much waits to be sent; wait for earlier publishes', {
    metadata: { limit: 'client queue' },
    retryAfterMs: 100,
  });
