import type { Client, ClientDuplexStream } from '@grpc/grpc-js';
import { MessagingServiceService, PublishStreamResponse } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import { fromGrpcError, fromRpcStatus } from '../transport/status.js';
import { RecordEncoder, type RecordInit } from '../wire/record-codec.js';
import { MAX_RECORD_BYTES } from '../wire/records.js';
import { FieldWriter } from '../wire/writer.js';
import { checkRecord, checkTarget, recordSize, tooLarge } from './checks.js';

export interface PublishOptions {
  /** How long gateways may hold the answer while a subscriber's queue is full, milliseconds. @default 0 */
  readonly patienceMs?: number | undefined;
}

/** What became of a publish. Records published in the same turn to the same address share it. */
export interface PublishReport {
  readonly side: 'local' | 'remote';
  readonly org: string;
  /** How many subscriptions it was handed to; 0: nobody is there. */
  readonly subscribers: number;
  /** For how many it was dropped because a queue was full. */
  readonly dropped: number;
}

export interface PublishAllOptions extends PublishOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each answered frame. */
  readonly onProgress?: (summary: PublishSummary) => void;
}

export interface PublishSummary {
  /** Records that were answered for. Always the first ones of the source. */
  readonly records: number;
  readonly bytes: number;
  /** Of these, how many were dropped for at least one subscription. */
  readonly dropped: number;
  /** Of these, how many nobody was there for. */
  readonly unheard: number;
}

/** Frames are filled up to this, bytes. */
const FRAME_BYTES = 64 * 1024;
/** Bytes sent and not answered. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Bytes that may wait in this process; `publish` refuses beyond. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Room before the records for frame id, address and patience. */
const HEADROOM = 560;

interface Frame {
  readonly address: string;
  readonly patienceMs: number;
  readonly encoder: RecordEncoder;
  /** By the monotonic clock, milliseconds. */
  readonly begunMs: number;
  readonly report: Promise<PublishReport>;
  readonly resolve: (report: PublishReport) => void;
  readonly reject: (error: FedgateError) => void;
}

/** A frame that was sent: without its records, which nobody needs again. */
type SentFrame = Pick<Frame, 'report' | 'resolve' | 'reject'> & { readonly bytes: number };

type Call = ClientDuplexStream<Buffer, PublishStreamResponse>;

/**
 * Publishes over one PublishStream that is opened when it is needed and again after it broke.
 *
 * Records of one turn of the loop to one address share a frame; frames leave in the order in which they were begun. What was on its
 * way when the stream broke is rejected with OUTCOME_UNKNOWN; what had not left yet goes out on the next stream.
 */
export class StreamPublisher {
  readonly #channel: () => Client;
  readonly #onBroken: (error: FedgateError) => void;
  readonly #open = new Map<string, Frame>();
  readonly #queue = new Fifo<Frame>();
  readonly #sent = new Map<number, SentFrame>();
  readonly #roomWaiters: (() => void)[] = [];
  #lastOpen: Frame | undefined;
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

  constructor(channel: () => Client, onBroken: (error: FedgateError) => void) {
    this.#channel = channel;
    this.#onBroken = onBroken;
  }

  /** Rejects with what the gateway answers, OUTCOME_UNKNOWN, GATEWAY_UNREACHABLE, LIMIT_REACHED. */
  publish(address: string, record: RecordInit, patienceMs: number, nowMs: number): Promise<PublishReport> {
    if (this.#closed) return Promise.reject(closedError());
    const size = recordSize(record);
    if (size > MAX_RECORD_BYTES - 16 * 1024) return Promise.reject(tooLarge(size));
    const problem = checkRecord(record);
    if (problem) return Promise.reject(problem);
    if (this.#waitingBytes > MAX_WAITING_BYTES) return Promise.reject(overflow());
    let frame = this.#frameFor(address, patienceMs);
    if (frame && frame.encoder.length + size > FRAME_BYTES) {
      this.#seal(frame);
      frame = undefined;
    }
    if (!frame) {
      const wrong = checkTarget(address, patienceMs);
      if (wrong) return Promise.reject(wrong);
      frame = newFrame(address, patienceMs, Math.max(size + 64, 1024, this.#expectedBytes));
      this.#open.set(frameKey(frame), frame);
      this.#lastOpen = frame;
      this.#schedule();
    }
    const before = frame.encoder.length;
    frame.encoder.add(record, nowMs);
    this.#waitingBytes += frame.encoder.length - before;
    return frame.report;
  }

  /** Whether more can be handed in without waiting. */
  get hasRoom(): boolean {
    return this.#waitingBytes < WINDOW_BYTES;
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

  /** Rejects what has waited to be sent for longer than `ageMs`. */
  expire(ageMs: number, error: FedgateError): void {
    const limit = performance.now() - ageMs;
    for (let frame = this.#queue.peek(); frame && frame.begunMs < limit; frame = this.#queue.peek()) {
      this.#queue.shift();
      this.#settle(frame.encoder.length, () => frame?.reject(error));
    }
    if (this.hasRoom) this.#wakeRoom();
  }

  /** Rejects what has not been sent. */
  fail(error: FedgateError): void {
    this.#flushOpen();
    for (const { encoder, reject } of this.#queue.drain()) this.#settle(encoder.length, () => reject(error));
    this.#wakeRoom();
  }

  /** Sends what is waiting, waits for all answers, and ends the stream. */
  async drain(): Promise<void> {
    this.#flushOpen();
    this.#pump();
    await Promise.allSettled([...this.#queue.toArray(), ...this.#sent.values()].map(frame => frame.report));
    this.close();
  }

  close(): void {
    this.#closed = true;
    this.fail(closedError());
    const call = this.#call;
    this.#call = undefined;
    for (const { bytes, reject } of this.#sent.values()) {
      this.#settle(bytes, () => reject(unknownOutcome('the client was closed')));
    }
    this.#sent.clear();
    call?.end();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flushOpen();
      this.#pump();
    });
  }

  /** The open frame for an address; mostly the one that was asked for last. */
  #frameFor(address: string, patienceMs: number): Frame | undefined {
    const last = this.#lastOpen;
    if (last && last.address === address && last.patienceMs === patienceMs) return last;
    this.#lastOpen = this.#open.get(frameKey({ address, patienceMs }));
    return this.#lastOpen;
  }

  #flushOpen(): void {
    for (const frame of this.#open.values()) this.#seal(frame);
  }

  #seal(frame: Frame): void {
    this.#open.delete(frameKey(frame));
    this.#lastOpen = undefined;
    this.#expectedBytes = Math.min(frame.encoder.length + 1024, FRAME_BYTES + 1024);
    this.#queue.push(frame);
    if (this.#queue.length > 1) this.#pump();
  }

  #pump(): void {
    if (this.#blockedUntil || this.#closed) return;
    for (let frame = this.#queue.peek(); frame && this.#mayWrite(frame); frame = this.#queue.peek()) {
      this.#queue.shift();
      this.#write(frame);
    }
  }

  #mayWrite(frame: Frame): boolean {
    return this.#writable && (this.#sent.size === 0 || this.#sentBytes + frame.encoder.length <= WINDOW_BYTES);
  }

  #write(frame: Frame): void {
    const call = this.#ensureCall();
    const id = this.#nextId++;
    const { report, resolve, reject, encoder } = frame;
    this.#sent.set(id, { report, resolve, reject, bytes: encoder.length });
    this.#sentBytes += encoder.length;
    if (!call.write(encodeFrame(frame, id))) {
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
    const call: Call = this.#channel().makeBidiStreamRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => PublishStreamResponse.decode(bytes),
    );
    this.#call = call;
    this.#writable = true;
    call.on('data', (answer: PublishStreamResponse) => this.#answered(answer));
    call.on('error', error => this.#broke(call, fromGrpcError(error)));
    call.on('end', () => this.#broke(call, new FedgateError('DRAINING', 'the gateway ended the stream')));
    return call;
  }

  #answered({ frameId, outcome }: PublishStreamResponse): void {
    const id = Number(frameId);
    const frame = this.#sent.get(id);
    if (!frame || !outcome) return;
    this.#sent.delete(id);
    this.#sentBytes -= frame.bytes;
    this.#settle(frame.bytes, () => {
      if (outcome.$case === 'error') frame.reject(fromRpcStatus(outcome.value));
      else frame.resolve({ ...outcome.value, side: outcome.value.side === 1 ? 'local' : 'remote' });
    });
    this.#pump();
    if (this.hasRoom) this.#wakeRoom();
  }

  #broke(call: Call, error: FedgateError): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    this.#sentBytes = 0;
    // A frame that the gateway could not even read tells what is wrong with it; any other end leaves the fate of the rest open.
    const reason =
      error.status === 'INVALID_ARGUMENT' || error.status === 'PERMISSION_DENIED' || error.status === 'UNAUTHENTICATED'
        ? error
        : unknownOutcome(error.message);
    for (const { bytes, reject } of this.#sent.values()) this.#settle(bytes, () => reject(reason));
    this.#sent.clear();
    this.#onBroken(error);
    this.#wakeRoom();
    this.#pump();
  }

  #settle(bytes: number, settle: () => void): void {
    this.#waitingBytes -= bytes;
    settle();
  }

  #wakeRoom(): void {
    for (const resume of this.#roomWaiters.splice(0)) resume();
  }
}

const frameKey = ({ address, patienceMs }: Pick<Frame, 'address' | 'patienceMs'>): string => `${patienceMs} ${address}`;

function newFrame(address: string, patienceMs: number, capacity: number): Frame {
  let resolve!: Frame['resolve'];
  let reject!: Frame['reject'];
  const report = new Promise<PublishReport>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  // Whoever publishes may not look at the answer; that is no unhandled rejection.
  report.catch(() => undefined);
  return {
    address,
    patienceMs,
    encoder: new RecordEncoder(capacity, HEADROOM),
    begunMs: performance.now(),
    report,
    resolve,
    reject,
  };
}

/** The header goes into the room before the records, so that nothing is copied. */
function encodeFrame({ address, patienceMs, encoder }: Frame, id: number): Buffer {
  const { bytes, start, end } = encoder.finish();
  const header = new FieldWriter().number(1, id).text(2, address).number(3, patienceMs).view();
  header.copy(bytes, start - header.length);
  return bytes.subarray(start - header.length, end);
}

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
