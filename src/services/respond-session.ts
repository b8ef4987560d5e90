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
import { StreamRights } from './stream-rights.js';

type Frame = NonNullable<RespondRequest['frame']>;
type Response = NonNullable<RespondResponse['frame']>;

const CAUSE = { deadline: 1, caller: 2 } as const satisfies Record<CancelCause, number>;

/** One Respond call: the stream of a responder. */
export class RespondSession implements ResponderSink {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #out: FrameWriter<Buffer>;
  readonly #node: string;
  readonly #host: RequestHost;
  readonly #rights: StreamRights;
  /** Frames that came while the policy was asked about one before them. */
  #early: Buffer[] = [];
  #deciding = false;
  #responder: Responder | undefined;
  #paused = false;
  #draining = false;
  #ended = false;
  #onEnd: () => void = () => undefined;
  #onAnswered: () => void = () => undefined;

  /** `end` ends the call. */
  constructor(
    call: ServerDuplexStream<Buffer, Buffer>,
    out: FrameWriter<Buffer>,
    node: string,
    host: RequestHost,
    end: (error: FedgateError) => void,
  ) {
    this.#call = call;
    this.#out = out;
    this.#node = node;
    this.#host = host;
    this.#rights = new StreamRights(host, node, end);
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
        this.#onEnd = resolve;
        this.#call.on('end', () => {
          this.#ended = true;
          if (!this.#deciding) resolve();
        });
        this.#call.on('data', (bytes: Buffer) => {
          this.#early.push(bytes);
          this.#work(reject);
        });
      });
    } finally {
      draining.removeEventListener('abort', drain);
      signal.removeEventListener('abort', over);
      this.#early = [];
      this.#rights.release();
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

  /** Takes frames one after the other; while the policy is asked about one, those behind it wait, and no more are read. */
  #work(fail: (error: unknown) => void): void {
    try {
      for (let bytes = this.#deciding ? undefined : this.#early.shift(); bytes; bytes = this.#early.shift()) {
        const deciding = this.#take(bytes);
        if (deciding === undefined) continue;
        this.#deciding = true;
        deciding
          .then(() => {
            this.#deciding = false;
            this.#work(fail);
          })
          .catch(fail);
        break;
      }
      this.#adjust();
      if (this.#ended && !this.#deciding) this.#onEnd();
    } catch (error) {
      fail(error);
    }
  }

  /** With a promise when the next frame must wait. Throws and rejects with what must end the stream. */
  #take(bytes: Buffer): void | Promise<void> {
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
    if (frame.$case === 'enable') return this.#enable(started(responder), frame.value.pattern);
    if (frame.$case === 'disable') this.#disable(started(responder), frame.value.pattern);
  }

  #start({ patterns, capacity }: RespondStart): void | Promise<void> {
    if (this.#responder) throw new FedgateError('FRAME_UNEXPECTED', 'the stream was started already');
    if (capacity > MAX_CAPACITY) throw fieldError('start.capacity', `is over ${MAX_CAPACITY}`);
    const checked = patterns.map(text => this.#check(text, 'start.patterns'));
    checkCount(new Set(patterns).size);
    return whenAllowed(
      checked.map(pattern => this.#allowed(pattern)),
      () => this.#open(checked, capacity),
    );
  }

  #open(patterns: readonly Pattern[], capacity: number): void {
    const { dispatcher, gateway } = this.#host;
    const responder = new Responder(this.#node, capacity || DEFAULT_CAPACITY, this);
    this.#responder = responder;
    dispatcher.add(responder);
    this.#put({ $case: 'opened', value: { gateway } });
    if (this.#draining) return;
    for (const pattern of patterns) dispatcher.enable(responder, pattern);
  }

  #enable(responder: Responder, text: string): void | Promise<void> {
    const pattern = this.#check(text, 'enable.pattern');
    if (!responder.patterns.has(text)) checkCount(responder.patterns.size + 1);
    return whenAllowed([this.#allowed(pattern)], () => {
      // A gateway that stops enables nothing, and says so by ending the stream.
      if (this.#draining || this.#responder !== responder) return;
      this.#host.dispatcher.enable(responder, pattern);
      this.#put({ $case: 'changed', value: { pattern: text, enabled: true } });
    });
  }

  #allowed(pattern: Pattern): void | Promise<void> {
    return this.#rights.deliver(pattern, () => this.#host.access.checkRespond(this.#node, pattern));
  }

  #disable(responder: Responder, text: string): void {
    this.#host.dispatcher.disable(responder, parsePattern(text, 'disable.pattern'));
    this.#rights.drop(text);
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
    const pause = this.#deciding || !this.#out.writable;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.#call.pause();
    else this.#call.resume();
  }
}

/** At once when nothing has to be waited for. */
function whenAllowed(verdicts: readonly (void | Promise<void>)[], go: () => void): void | Promise<void> {
  const waiting = verdicts.filter(verdict => verdict instanceof Promise);
  return waiting.length === 0 ? go() : Promise.all(waiting).then(go);
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
