import type { ServerDuplexStream } from '@grpc/grpc-js';
import {
  RespondRequest,
  RespondResponse,
  type RespondStart,
} from '../../gen/ts/fedgate/messaging/v1/request_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { type Pattern, parsePattern } from '../messaging/address.js';
import { checkApplicationError } from '../requests/application-error.js';
import type { Job } from '../requests/job.js';
import { full } from '../requests/pending.js';
import { Responder, type ResponderSink } from '../requests/responder.js';
import { type CancelCause, DEFAULT_CAPACITY, MAX_CAPACITY, MAX_PATTERNS_PER_STREAM } from '../requests/types.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { malformed } from '../wire/reader.js';
import { encodeRespondDelivery, readRespondReply } from '../wire/request-frames.js';
import type { RequestHost } from './request-service.js';

type Frame = NonNullable<RespondRequest['frame']>;
type Response = NonNullable<RespondResponse['frame']>;

const CAUSE = { deadline: 1, caller: 2 } as const satisfies Record<CancelCause, number>;

/** One Respond call: the stream of a responder. */
export class RespondSession implements ResponderSink {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #out: FrameWriter<Buffer>;
  readonly #node: string;
  readonly #host: RequestHost;
  #responder: Responder | undefined;
  #paused = false;
  #draining = false;
  #onAnswered: () => void = () => undefined;

  constructor(call: ServerDuplexStream<Buffer, Buffer>, out: FrameWriter<Buffer>, node: string, host: RequestHost) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#host = host;
  }

  /** Resolves when the client has ended the stream; rejects with what the stream is to end with. */
  async run(signal: AbortSignal): Promise<void> {
    const { draining, dispatcher } = this.#host;
    if (draining.aborted) throw draining.reason;
    let drain: () => void = () => undefined;
    let over: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        over = resolve;
        drain = () => this.#drain(() => reject(draining.reason));
        draining.addEventListener('abort', drain, { once: true });
        signal.addEventListener('abort', over, { once: true });
        this.#out.onDrain(() => this.#adjust());
        this.#call.on('end', resolve);
        this.#call.on('data', (bytes: Buffer) => {
          try {
            this.#take(bytes);
            this.#adjust();
          } catch (error) {
            reject(error);
          }
        });
      });
    } finally {
      draining.removeEventListener('abort', drain);
      signal.removeEventListener('abort', over);
      if (this.#responder) dispatcher.remove(this.#responder);
      this.#responder = undefined;
    }
  }

  request(job: Job): void {
    const { record } = job;
    if (!record) return;
    const facts = {
      id: job.id,
      channel: job.channel,
      senderOrg: job.senderOrg,
      senderNode: job.senderNode,
      timeoutMs: Math.max(1, Math.ceil(job.dueMs - performance.now())),
      attempt: job.attempts,
      survey: job.survey,
      oneWay: job.oneWay,
      storedId: job.storedId,
    };
    this.#out.put(encodeRespondDelivery(facts, record));
  }

  cancel(id: number, cause: CancelCause): void {
    this.#put({ $case: 'cancel', value: { requestId: BigInt(id), cause: CAUSE[cause] } });
  }

  /** Throws what must end the stream. */
  #take(bytes: Buffer): void {
    const responder = this.#responder;
    const reply = readRespondReply(bytes);
    if (reply) {
      this.#host.dispatcher.answered(started(responder), reply.id, { kind: 'reply', record: reply.record });
      return this.#onAnswered();
    }
    const frame = decodeFrame(bytes);
    if (frame.$case === 'start') return this.#start(frame.value);
    if (frame.$case === 'error') {
      const error = checkApplicationError(frame.value.error, 'error.error');
      this.#host.dispatcher.answered(started(responder), toId(frame.value.requestId), { kind: 'error', error });
      return this.#onAnswered();
    }
    if (frame.$case === 'done') {
      this.#host.dispatcher.answered(started(responder), toId(frame.value.requestId), undefined);
      return this.#onAnswered();
    }
    if (frame.$case === 'enable') this.#enable(started(responder), frame.value.pattern);
    else if (frame.$case === 'disable') this.#disable(started(responder), frame.value.pattern);
  }

  #start({ patterns, capacity }: RespondStart): void {
    if (this.#responder) throw new FedgateError('FRAME_UNEXPECTED', 'the stream was started already');
    if (capacity > MAX_CAPACITY) throw fieldError('start.capacity', `is over ${MAX_CAPACITY}`);
    const checked = patterns.map(text => this.#check(text, 'start.patterns'));
    checkCount(new Set(patterns).size);
    const { dispatcher, gateway } = this.#host;
    const responder = new Responder(this.#node, capacity || DEFAULT_CAPACITY, this);
    this.#responder = responder;
    dispatcher.add(responder);
    this.#put({ $case: 'opened', value: { gateway } });
    if (this.#draining) return;
    for (const pattern of checked) dispatcher.enable(responder, pattern);
  }

  #enable(responder: Responder, text: string): void {
    const pattern = this.#check(text, 'enable.pattern');
    if (!responder.patterns.has(text)) checkCount(responder.patterns.size + 1);
    // A gateway that stops enables nothing, and says so by ending the stream.
    if (this.#draining) return;
    this.#host.dispatcher.enable(responder, pattern);
    this.#put({ $case: 'changed', value: { pattern: text, enabled: true } });
  }

  #disable(responder: Responder, text: string): void {
    this.#host.dispatcher.disable(responder, parsePattern(text, 'disable.pattern'));
    this.#put({ $case: 'changed', value: { pattern: text, enabled: false } });
  }

  #check(text: string, field: string): Pattern {
    const pattern = parsePattern(text, field);
    this.#host.access.checkRespond(this.#node, pattern);
    return pattern;
  }

  /** Nothing new goes out; what is out is waited for. */
  #drain(done: () => void): void {
    this.#draining = true;
    const responder = this.#responder;
    if (!responder) return done();
    for (const pattern of [...responder.patterns.values()]) this.#host.dispatcher.disable(responder, pattern);
    this.#onAnswered = () => {
      if (responder.out.size === 0) done();
    };
    this.#onAnswered();
  }

  #put(frame: Response): void {
    this.#out.put(Buffer.from(RespondResponse.encode({ frame }).finish()));
  }

  /** Reads on only while the client reads what it is told. */
  #adjust(): void {
    const pause = !this.#out.writable;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#call.pause();
    else this.#call.resume();
  }
}

function decodeFrame(bytes: Buffer): Frame {
  try {
    const { frame } = RespondRequest.decode(bytes);
    if (frame) return frame;
  } catch {
    throw malformed('a RespondRequest');
  }
  throw malformed('a RespondRequest of a kind that is not known');
}

function started(responder: Responder | undefined): Responder {
  if (responder) return responder;
  throw new FedgateError('FRAME_UNEXPECTED', 'the first frame must be `start`');
}

const toId = (id: bigint): number => (id > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(id));

function checkCount(patterns: number): void {
  if (patterns > MAX_PATTERNS_PER_STREAM)
    throw full('patterns', `more than ${MAX_PATTERNS_PER_STREAM} patterns are enabled on one stream`);
}
