import type { SubscriptionSpec } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { Backoff } from '../backoff.js';
import { FedgateError, type Reason } from '../errors.js';
import { Fifo } from '../fifo.js';
import { CarriedAcks } from './carried-acks.js';
import { ConsumeStream, type DurableOpened } from './consume-stream.js';
import { Deferred } from './deferred.js';
import { Delivery, DurableBatch, type DurableMessage } from './delivery.js';
import { creditOf, type DurableSubscribeOptions, limitOf, toSpec } from './durable-options.js';
import type { DurableNotice } from './notices.js';
import type { SubscriptionHost } from './subscription.js';

/** What an iteration over everything yields: one of the two. */
export type DurableEvent =
  | { readonly message: DurableMessage; readonly notice?: undefined }
  | { readonly notice: DurableNotice; readonly message?: undefined };

/**
 * A durable subscription. Iterate it once: by message, by batch, or by event.
 *
 * What is not acknowledged is delivered again. When the connection breaks it goes on by itself: messages that wait in this process are
 * dropped, and come again with all others that were not acknowledged. What was acknowledged does not: the acknowledgement is carried on,
 * also one that is given only after the break.
 */
export interface DurableSubscription extends AsyncIterable<DurableMessage>, AsyncDisposable {
  /** Resolves when the gateway has opened it. */
  readonly opened: Promise<DurableOpened>;
  /** The fast way: one step per frame instead of one per record. */
  batches(): AsyncIterable<DurableBatch>;
  /** Messages and notices, in order. */
  events(): AsyncIterable<DurableEvent>;
  /** Ends it. What was acknowledged before is still settled. */
  close(): void;
  /** Hands out no more, waits until all that was acknowledged is settled, and ends it. */
  drain(): Promise<void>;
}

/** Waits between tries while somebody else consumes it, or the gateway cannot serve it. */
const RETRY = { firstMs: 50, maxMs: 2_000, factor: 2, random: Math.random };

/** Consumes, and consumes again after the connection broke, until it is closed or the gateway refuses. */
export class DurableClientSubscription implements DurableSubscription {
  readonly #host: SubscriptionHost;
  readonly #options: DurableSubscribeOptions;
  readonly #spec: SubscriptionSpec;
  readonly #credit: number;
  /** How many records may still be handed out. */
  #left: number;
  readonly #siblings: Set<DurableClientSubscription>;
  readonly #carried = new CarriedAcks();
  readonly #opened = new Deferred<DurableOpened>();
  readonly #over = new Deferred<void>();
  readonly #backoff = new Backoff(RETRY);
  #items = new Fifo<Delivery | DurableNotice>();
  #stream: ConsumeStream | undefined;
  #streamOpened = false;
  #retry: NodeJS.Timeout | undefined;
  #ending = false;
  #closed = false;
  #error: FedgateError | undefined;
  #wake: (() => void) | undefined;
  readonly #onAbort = (): void => this.close();

  /** `siblings` holds it until it is over. Throws FIELD_INVALID. */
  constructor(
    host: SubscriptionHost,
    pattern: string,
    options: DurableSubscribeOptions,
    siblings: Set<DurableClientSubscription>,
  ) {
    this.#host = host;
    this.#options = options;
    this.#spec = toSpec(pattern, options);
    this.#credit = creditOf(options);
    this.#left = limitOf(options);
    this.#siblings = siblings;
    if (options.signal?.aborted) this.close();
    else {
      options.signal?.addEventListener('abort', this.#onAbort, { once: true });
      siblings.add(this);
      this.#start();
    }
  }

  get opened(): Promise<DurableOpened> {
    return this.#opened.promise;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DurableMessage> {
    for await (const batch of this.batches()) yield* batch;
  }

  async *batches(): AsyncGenerator<DurableBatch> {
    for await (const item of this.#take()) {
      if (item instanceof Delivery) yield new DurableBatch(item);
      else this.#options.onNotice?.(item);
    }
  }

  async *events(): AsyncGenerator<DurableEvent> {
    for await (const item of this.#take()) {
      if (!(item instanceof Delivery)) yield { notice: item };
      else for (const message of new DurableBatch(item)) yield { message };
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#end();
    if (this.#stream) this.#stream.finish();
    else this.#finished();
  }

  async drain(): Promise<void> {
    this.#ending = true;
    this.#wake?.();
    await this.#stream?.settled();
    await this.#carried.all();
    this.close();
    await this.#over.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  /** @internal Ends at once, without having anything settled. */
  cut(): void {
    this.#end();
    this.#stream?.cut();
    this.#finished();
  }

  async *#take(): AsyncGenerator<Delivery | DurableNotice> {
    try {
      for (let item = await this.#next(); item; item = await this.#next()) {
        if (!(item instanceof Delivery)) yield item;
        else {
          this.#stream?.taken(item);
          for (const part of item.remaining()) {
            this.#left = Math.max(0, this.#left - (part.last - part.first + 1));
            yield part;
          }
        }
      }
    } finally {
      this.close();
    }
  }

  async #next(): Promise<Delivery | DurableNotice | undefined> {
    for (;;) {
      if (this.#ending) return undefined;
      const item = this.#items.shift();
      if (item) return item;
      if (this.#error) throw this.#error;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  #start(): void {
    this.#streamOpened = false;
    const stream = new ConsumeStream(this.#host.channel(), {
      spec: this.#spec,
      credit: this.#credit,
      carried: this.#carried,
      onLate: (first, last) => this.#late(first, last),
      total: this.#left,
      onOpened: opened => {
        this.#streamOpened = true;
        this.#backoff.reset();
        this.#opened.resolve(opened);
      },
      onItem: item => {
        this.#items.push(item);
        this.#wake?.();
      },
      onEnd: error => this.#ended(stream, error),
    });
    this.#stream = stream;
  }

  #ended(stream: ConsumeStream, error: FedgateError | undefined): void {
    if (this.#stream !== stream) return;
    this.#stream = undefined;
    if (this.#closed || !error) return this.#finished();
    // It was moved on purpose: what comes again is meant to.
    if (error.reason === 'SUBSCRIPTION_MOVED') this.#carried.fail(error.message);
    // What waits comes again; a notice may not.
    const notices = this.#items.drain().filter(item => !(item instanceof Delivery));
    for (const notice of notices) this.#items.push(notice);
    if (isLost(error)) {
      this.#host.reconnected(error).then(
        () => this.#again(this.#streamOpened ? 0 : this.#backoff.next()),
        failure => this.#fail(failure as FedgateError),
      );
    } else if (error.retryable) this.#again(Math.max(this.#backoff.next(), error.retryAfterMs ?? 0));
    else this.#fail(error);
  }

  /** A record of a stream that broke is acknowledged now. It may be out again already. */
  #late(first: number, last: number): Promise<void> {
    const done = new Deferred<void>();
    this.#carried.add({ ranges: [{ first, last }], done }, 'it was given after the stream had ended');
    if (this.#closed) this.#carried.fail('the subscription was closed');
    else this.#stream?.carryOn();
    return done.promise;
  }

  #again(afterMs: number): void {
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.#start(), afterMs);
  }

  #fail(error: FedgateError): void {
    this.#error = error;
    this.#opened.reject(error);
    this.#wake?.();
    this.#finished();
  }

  #end(): void {
    this.#closed = true;
    this.#ending = true;
    clearTimeout(this.#retry);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#opened.reject(new FedgateError('CANCELLED', 'the subscription was closed'));
    this.#wake?.();
  }

  #finished(): void {
    this.#carried.fail(this.#error?.message ?? 'the subscription was closed');
    this.#siblings.delete(this);
    this.#over.resolve();
  }
}

const LOST: ReadonlySet<Reason> = new Set(['GATEWAY_UNREACHABLE', 'DRAINING', 'CANCELLED', 'TOKEN_EXPIRED']);

/** Whether the connection is what ended the stream. A gateway that is killed or stops cuts its calls in one of these ways. */
const isLost = ({ status, reason, message }: FedgateError): boolean =>
  LOST.has(reason) || (status === 'INTERNAL' && /RST_STREAM|ECONN|EPIPE/.test(message));
