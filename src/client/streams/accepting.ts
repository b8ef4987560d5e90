import type { ClientDuplexStream } from '@grpc/grpc-js';
import {
  type AcceptStreamsRequest,
  type AcceptStreamsResponse,
  StreamServiceService,
} from '../../../gen/ts/fedgate/messaging/v1/stream_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { fromGrpcError } from '../../transport/status.js';
import { Deferred } from '../deferred.js';
import { PatternChanges } from '../pattern-changes.js';
import type { SubscriptionHost } from '../subscription.js';
import { HALF } from './attachment.js';
import { ByteStream, type StreamHost } from './byte-stream.js';
import type { AcceptStreamsOptions } from './types.js';

/** Who wants to open a stream. */
export interface StreamOfferFacts {
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
}

/** Hears of each stream that was accepted. What it throws, or rejects with, breaks the stream off. */
export type StreamHandler = (stream: ByteStream) => void | Promise<void>;

/** A node that accepts streams. Goes on by itself when the gateway was away. */
export interface AcceptingStreams extends AsyncDisposable {
  /** Resolves when the gateway has opened it. Rejects with what it refuses. */
  readonly opened: Promise<void>;
  /** Resolves when it is over: closed here, or refused by the gateway, with the reason. */
  readonly closed: Promise<FedgateError | undefined>;
  /** The patterns that are enabled. */
  readonly enabled: ReadonlySet<string>;
  /** Has streams come for a pattern, or for all it began with; resolves when the gateway says so. */
  enable(pattern?: string): Promise<void>;
  /** Has none come any more: once this resolves nobody finds it there. Streams that are open, or were offered before, stay. */
  disable(pattern?: string): Promise<void>;
  /** Accepts no more; streams that are open stay. */
  close(): void;
}

type Call = ClientDuplexStream<AcceptStreamsRequest, AcceptStreamsResponse>;
type Frame = NonNullable<AcceptStreamsRequest['frame']>;

export class ClientAccepting implements AcceptingStreams {
  readonly #host: SubscriptionHost;
  readonly #streams: StreamHost;
  readonly #patterns: readonly string[];
  readonly #handler: StreamHandler;
  readonly #options: AcceptStreamsOptions;
  readonly #siblings: Set<ClientAccepting>;
  readonly #opened = new Deferred<void>();
  readonly #closed = new Deferred<FedgateError | undefined>();
  readonly #changes = new PatternChanges();
  readonly #onAbort = (): void => this.close();
  #call: Call | undefined;
  #over = false;

  constructor(
    host: SubscriptionHost,
    streams: StreamHost,
    patterns: readonly string[],
    handler: StreamHandler,
    options: AcceptStreamsOptions,
    siblings: Set<ClientAccepting>,
  ) {
    const { capacity = 16, enabled = true, signal } = options;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 1_000)
      throw fieldError('capacity', 'must be a whole number from 1 to 1000');
    this.#host = host;
    this.#streams = streams;
    this.#patterns = patterns;
    this.#handler = handler;
    this.#options = options;
    this.#siblings = siblings;
    if (enabled) for (const pattern of patterns) this.#changes.enabled.add(pattern);
    siblings.add(this);
    if (signal?.aborted) this.#end(undefined);
    else this.#begin(signal);
  }

  #begin(signal: AbortSignal | undefined): void {
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#start();
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
    await this.#change(pattern, true);
  }

  async disable(pattern?: string): Promise<void> {
    await this.#change(pattern, false);
  }

  close(): void {
    this.#end(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #change(pattern: string | undefined, enabled: boolean): Promise<void> {
    if (this.#over) throw new FedgateError('CANCELLED', 'it is closed');
    const $case = enabled ? 'enable' : 'disable';
    const which = pattern === undefined ? this.#patterns : [pattern];
    await Promise.all(
      which.map(each => {
        const done = this.#changes.add(each, enabled);
        this.#put({ $case, value: { pattern: each } });
        return done;
      }),
    );
  }

  #start(): void {
    const { path, requestSerialize, responseDeserialize } = StreamServiceService.acceptStreams;
    const call: Call = this.#host.channel().makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call = call;
    call.on('data', ({ frame }: AcceptStreamsResponse) => {
      if (this.#call !== call) return;
      if (frame?.$case === 'opened') {
        this.#opened.resolve();
        this.#changes.opened();
      } else if (frame?.$case === 'changed') this.#changes.settle(frame.value.pattern, frame.value.enabled);
      else if (frame?.$case === 'offer') void this.#accept(frame.value.token, frame.value);
    });
    call.on('error', error => this.#ended(call, fromGrpcError(error)));
    call.on('end', () => this.#ended(call, new FedgateError('DRAINING', 'the gateway ended the call')));
    const { capacity = 16 } = this.#options;
    this.#put({ $case: 'start', value: { patterns: this.#changes.begin(), capacity } });
  }

  #put(frame: Frame): void {
    this.#call?.write({ frame });
  }

  async #accept(token: Uint8Array, { channel }: StreamOfferFacts): Promise<void> {
    let stream: ByteStream;
    try {
      stream = await ByteStream.begin(
        this.#streams,
        { $case: 'accept', value: { token, half: HALF.send } },
        { channel, window: this.#options.window },
      );
    } catch (error) {
      // Whoever opened it gave up, or another was faster: nobody waits for this one.
      if ((error as FedgateError).reason !== 'STREAM_UNKNOWN') this.#options.onError?.(error);
      return;
    }
    // A stream that nobody listens to must not end the process when it breaks.
    stream.on('error', () => undefined);
    try {
      await this.#handler(stream);
    } catch (error) {
      this.#options.onError?.(error);
      stream.destroy(new FedgateError('STREAM_RESET', 'the handler failed'));
    }
  }

  #ended(call: Call, error: FedgateError): void {
    if (this.#call !== call || this.#over) return;
    this.#call = undefined;
    if (!error.retryable && error.reason !== 'CANCELLED') return this.#end(error);
    this.#host.reconnected(error).then(
      () => {
        if (!this.#over) this.#start();
      },
      failure => this.#end(failure as FedgateError),
    );
  }

  #end(error: FedgateError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#siblings.delete(this);
    const call = this.#call;
    this.#call = undefined;
    call?.end();
    const reason = error ?? new FedgateError('CANCELLED', 'it was closed');
    this.#opened.reject(reason);
    this.#changes.end(reason);
    this.#closed.resolve(error);
  }
}
