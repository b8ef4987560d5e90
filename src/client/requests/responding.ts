import type { ClientDuplexStream } from '@grpc/grpc-js';
import {
  RequestServiceService,
  RespondRequest,
  RespondResponse,
} from '../../../gen/ts/fedgate/messaging/v1/request_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { fromGrpcError } from '../../transport/status.js';
import { ReceivedRecord } from '../../wire/record-codec.js';
import { type DeliveryFacts, REPLY, readRespondDelivery } from '../../wire/request-frames.js';
import { FieldWriter } from '../../wire/writer.js';
import { Deferred } from '../deferred.js';
import { PatternChanges } from '../pattern-changes.js';
import { passed, type SubscriptionHost } from '../subscription.js';
import { encodeContent } from './content.js';
import { type Content, RequestError } from './types.js';

export interface RespondOptions {
  /** How many requests may be in the handler at once. At most 10000. @default 16 */
  readonly capacity?: number | undefined;
  /** Whether the patterns are enabled from the start. @default true */
  readonly enabled?: boolean | undefined;
  /** Ends it, as `close` does. */
  readonly signal?: AbortSignal | undefined;
  /** Hears what a handler threw that is no RequestError: whoever asked gets `HANDLER_FAILED` and nothing of it. Of what is one-way, all it threw. */
  readonly onError?: ((error: unknown, request: IncomingRequest) => void) | undefined;
}

/** A request that came. */
export class IncomingRequest extends ReceivedRecord {
  readonly channel: string;
  /** The organisation and the node that ask, as verified by the gateways. */
  readonly senderOrg: string;
  readonly senderNode: string;
  /** How much time was left for the answer when it came, milliseconds. */
  readonly timeoutMs: number;
  /** How many responders have got it, this one included. */
  readonly attempt: number;
  /** Whether all responders of the channel are asked. */
  readonly survey: boolean;
  /** Whether nobody waits for a reply: what the handler returns goes nowhere. */
  readonly oneWay: boolean;
  /** Of a stored request its id, in hexadecimal digits, the same however often it comes; empty: it is none. */
  readonly storedId: string;
  readonly #waiting: Waiting;

  constructor(bytes: Buffer, start: number, end: number, facts: DeliveryFacts, waiting: Waiting) {
    super(bytes, start, end);
    this.#waiting = waiting;
    this.channel = facts.channel;
    this.senderOrg = facts.senderOrg;
    this.senderNode = facts.senderNode;
    this.timeoutMs = facts.timeoutMs;
    this.attempt = facts.attempt;
    this.survey = facts.survey;
    this.oneWay = facts.oneWay;
    this.storedId = facts.storedId;
  }

  /** Fires when nobody waits for the answer any more: the time is over, whoever asked gave up, or the connection broke. */
  get signal(): AbortSignal {
    return this.#waiting.signal;
  }
}

const ANSWERED = new FedgateError('CANCELLED', 'it is answered');

/** Whether somebody waits for an answer. Most handlers never ask, so there is a signal only once one does. */
class Waiting {
  #controller: AbortController | undefined;
  #over: FedgateError | undefined;

  /** Whether nobody does. */
  get isOver(): boolean {
    return this.#over !== undefined;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#over) this.#controller.abort(this.#over);
    }
    return this.#controller.signal;
  }

  end(reason: FedgateError): void {
    if (this.#over) return;
    this.#over = reason;
    this.#controller?.abort(reason);
  }
}

/** What it returns is the reply; what is one-way gets none. */
export type RequestHandler = (request: IncomingRequest) => Content | Promise<Content>;

/** A node that answers. Goes on by itself when the gateway is back after it was away. */
export interface Responding extends AsyncDisposable {
  /** Resolves when the gateway has opened the stream: from then on requests come. Rejects with what it refuses. */
  readonly opened: Promise<void>;
  /** Resolves when it is over: closed here, or refused by the gateway, with the reason. */
  readonly closed: Promise<FedgateError | undefined>;
  /** The patterns that are enabled. */
  readonly enabled: ReadonlySet<string>;
  /** Has requests come for a pattern, or for all it began with; resolves when the gateway says so. */
  enable(pattern?: string): Promise<void>;
  /** Has none come any more: once this resolves nobody finds it there. What is in the handler may be answered. */
  disable(pattern?: string): Promise<void>;
  /** Ends it at once; what is in the handler goes to others. */
  close(): void;
  /** Disables all, waits for the handlers, and closes. */
  drain(): Promise<void>;
}

type Call = ClientDuplexStream<Buffer, Buffer>;

const same = (bytes: Buffer): Buffer => bytes;

export class ClientResponding implements Responding {
  readonly #host: SubscriptionHost;
  readonly #patterns: readonly string[];
  readonly #handler: RequestHandler;
  readonly #options: RespondOptions;
  readonly #siblings: Set<ClientResponding>;
  readonly #opened = new Deferred<void>();
  readonly #closed = new Deferred<FedgateError | undefined>();
  readonly #changes = new PatternChanges();
  readonly #running = new Map<number, Waiting>();
  readonly #onAbort = (): void => this.close();
  /** Frames that the connection does not take at the moment, and requests whose handlers do not begin while that is so. */
  readonly #unsent: Buffer[] = [];
  readonly #notBegun: (() => void)[] = [];
  #blocked = false;
  #idle: (() => void)[] = [];
  #call: Call | undefined;
  #over = false;

  constructor(
    host: SubscriptionHost,
    patterns: readonly string[],
    handler: RequestHandler,
    options: RespondOptions,
    siblings: Set<ClientResponding>,
  ) {
    const { capacity = 16, enabled = true, signal } = options;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 10_000)
      throw fieldError('capacity', 'must be a whole number from 1 to 10000');
    this.#host = host;
    this.#patterns = patterns;
    this.#handler = handler;
    this.#options = options;
    this.#siblings = siblings;
    if (enabled) for (const pattern of patterns) this.#changes.enabled.add(pattern);
    if (signal?.aborted) this.close();
    else {
      signal?.addEventListener('abort', this.#onAbort, { once: true });
      siblings.add(this);
      this.#start();
    }
  }

  get enabled(): ReadonlySet<string> {
    return this.#changes.enabled;
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get closed(): Promise<FedgateError | undefined> {
    return this.#closed.promise;
  }

  async enable(pattern?: string): Promise<void> {
    await Promise.all(this.#which(pattern).map(each => this.#change(each, true)));
  }

  async disable(pattern?: string): Promise<void> {
    await Promise.all(this.#which(pattern).map(each => this.#change(each, false)));
  }

  close(): void {
    this.#end(undefined);
  }

  async drain(): Promise<void> {
    await Promise.race([this.#disableAll(), this.closed]);
    if (this.#running.size > 0 && !this.#over) await new Promise<void>(resolve => this.#idle.push(resolve));
    this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  async #disableAll(): Promise<void> {
    await Promise.all([...this.enabled].map(pattern => this.#change(pattern, false)));
  }

  #which(pattern: string | undefined): readonly string[] {
    return pattern === undefined ? this.#patterns : [pattern];
  }

  #change(pattern: string, enabled: boolean): Promise<void> {
    if (this.#over) return Promise.reject(new FedgateError('CANCELLED', 'it is closed'));
    const done = this.#changes.add(pattern, enabled);
    this.#put(enabled ? { $case: 'enable', value: { pattern } } : { $case: 'disable', value: { pattern } });
    return done;
  }

  #start(): void {
    const { path } = RequestServiceService.respond;
    const call: Call = this.#host.channel().makeBidiStreamRequest<Buffer, Buffer>(path, same, same);
    this.#call = call;
    this.#blocked = false;
    call.on('data', (bytes: Buffer) => this.#receive(call, bytes));
    call.on('drain', () => this.#unblocked(call));
    call.on('error', error => this.#ended(call, fromGrpcError(error)));
    call.on('end', () => this.#ended(call, new FedgateError('DRAINING', 'the gateway ended the stream')));
    const { capacity = 16 } = this.#options;
    this.#put({ $case: 'start', value: { patterns: this.#changes.begin(), capacity } });
  }

  #put(frame: NonNullable<RespondRequest['frame']>): void {
    this.#write(Buffer.from(RespondRequest.encode({ frame }).finish()));
  }

  /**
   * What the gateway does not take waits here, and no handler begins before it does. Reading goes on: two sides that both wait for the other to read
   * would wait for ever, and what a gateway sends without an answer is bounded.
   */
  #write(frame: Buffer): void {
    if (!this.#call) return;
    if (this.#blocked) this.#unsent.push(frame);
    else this.#blocked = !this.#call.write(frame);
  }

  #unblocked(call: Call): void {
    if (this.#call !== call) return;
    this.#blocked = false;
    while (!this.#blocked) {
      const frame = this.#unsent.shift();
      if (!frame) break;
      this.#blocked = !call.write(frame);
    }
    while (!this.#blocked) {
      const begin = this.#notBegun.shift();
      if (!begin) return;
      begin();
    }
  }

  #receive(call: Call, bytes: Buffer): void {
    if (this.#call !== call) return;
    const delivery = readRespondDelivery(bytes);
    if (delivery) {
      const running = new Waiting();
      const { facts, start, end } = delivery;
      this.#running.set(facts.id, running);
      const request = new IncomingRequest(bytes, start, end, facts, running);
      const begin = (): void => void this.#answer(call, facts.id, request, running);
      if (this.#blocked) this.#notBegun.push(begin);
      else begin();
      return;
    }
    const { frame } = RespondResponse.decode(bytes);
    if (frame?.$case === 'opened') this.#onOpened();
    else if (frame?.$case === 'changed') this.#changes.settle(frame.value.pattern, frame.value.enabled);
    else if (frame?.$case === 'cancel') {
      const why = frame.value.cause === 1 ? 'the time is over' : 'whoever asked gave up';
      this.#running.get(Number(frame.value.requestId))?.end(new FedgateError('CANCELLED', why));
    }
  }

  #onOpened(): void {
    this.#opened.resolve();
    this.#changes.opened();
  }

  async #answer(call: Call, id: number, request: IncomingRequest, running: Waiting): Promise<void> {
    const frame = await this.#outcome(id, request, running);
    if (this.#call === call) {
      this.#write(frame);
      this.#running.delete(id);
      if (this.#running.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
    // What the handler left behind that listens to it ends.
    running.end(ANSWERED);
  }

  async #outcome(id: number, request: IncomingRequest, running: Waiting): Promise<Buffer> {
    try {
      const content = await this.#handler(request);
      return request.oneWay ? doneFrame(id) : replyFrame(id, encodeContent(content));
    } catch (error) {
      if (!request.oneWay) return errorFrame(id, this.#errorOf(error, request, running));
      if (!running.isOver) this.#options.onError?.(error, request);
      return doneFrame(id);
    }
  }

  #errorOf(
    error: unknown,
    request: IncomingRequest,
    running: Waiting,
  ): { code: string; message: string; details: Uint8Array } {
    if (error instanceof RequestError) {
      const { code, message, details } = error;
      if (/^[A-Za-z0-9._-]{1,64}$/.test(code) && Buffer.byteLength(message) <= 1024 && details.length <= 2048)
        return { code, message, details };
    }
    // Whoever asked gave up: that the handler stopped is nothing to hear of.
    if (!running.isOver) this.#options.onError?.(error, request);
    return { code: 'HANDLER_FAILED', message: 'the handler failed', details: new Uint8Array(0) };
  }

  #ended(call: Call, error: FedgateError): void {
    if (this.#call !== call || this.#over) return;
    this.#call = undefined;
    this.#cancelAll(error);
    if (!error.retryable && error.reason !== 'CANCELLED') return this.#end(error);
    passed(error, this.#host).then(
      () => {
        if (this.#over) return;
        this.#start();
      },
      failure => this.#end(failure as FedgateError),
    );
  }

  #cancelAll(reason: FedgateError): void {
    const running = [...this.#running.values()];
    this.#running.clear();
    this.#unsent.length = 0;
    this.#notBegun.length = 0;
    for (const each of running) each.end(reason);
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #end(error: FedgateError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#siblings.delete(this);
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
    const reason = error ?? new FedgateError('CANCELLED', 'it was closed');
    this.#cancelAll(reason);
    this.#opened.reject(reason);
    this.#changes.end(reason);
    this.#closed.resolve(error);
  }
}

function replyFrame(id: number, record: Buffer): Buffer {
  const head = new FieldWriter().number(1, id);
  const outer = new FieldWriter().prefix(REPLY, head.length + record.length);
  return Buffer.concat([outer.view(), head.view(), record]);
}

const doneFrame = (id: number): Buffer =>
  Buffer.from(RespondRequest.encode({ frame: { $case: 'done', value: { requestId: BigInt(id) } } }).finish());

const errorFrame = (id: number, error: { code: string; message: string; details: Uint8Array }): Buffer =>
  Buffer.from(RespondRequest.encode({ frame: { $case: 'error', value: { requestId: BigInt(id), error } } }).finish());
