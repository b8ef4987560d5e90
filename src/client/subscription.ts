import type { Client, ClientReadableStream } from '@grpc/grpc-js';
import {
  MessagingServiceService,
  SubscribeRequest,
  SubscriptionNotice,
} from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError } from '../errors.js';
import { Fifo } from '../fifo.js';
import { fromGrpcError } from '../transport/status.js';
import { type DeliveryFrame, readDelivery } from '../wire/messaging-frames.js';
import { FieldReader } from '../wire/reader.js';
import { Message } from './message.js';

export interface SubscribeOptions {
  /** Ends the subscription; the iteration then ends without an error. */
  readonly signal?: AbortSignal | undefined;
  /** Hears when records were lost to this subscription: dropped at a full queue, or published while it was not connected. */
  readonly onLoss?: (loss: { readonly records: number | undefined; readonly why: 'slow' | 'disconnected' }) => void;
}

/** Records of one channel from one publisher that arrived together; at least one. */
export interface MessageBatch extends Iterable<Message> {
  readonly channel: string;
  readonly senderOrg: string;
  readonly senderNode: string;
}

/** An open subscription. Iterate it once, by message or by batch. */
export interface Subscription extends AsyncIterable<Message> {
  /** Resolves when the gateway has opened it: what is published from then on is seen. */
  readonly opened: Promise<void>;
  /** The fast way: one step per frame instead of one per record. */
  batches(): AsyncIterable<MessageBatch>;
  close(): void;
}

/** Bytes that wait in this process for the iteration before reading stops. */
const BUFFER_BYTES = 1024 * 1024;
/** How long a gateway that could not decide is left alone, milliseconds. */
const UNDECIDED_MS = 1_000;

export interface SubscriptionHost {
  channel(): Client;
  /** Waits until it makes sense to try again; rejects when it never does. */
  reconnected(error: FedgateError): Promise<void>;
}

class Batch implements MessageBatch {
  readonly #frame: DeliveryFrame;

  constructor(frame: DeliveryFrame) {
    this.#frame = frame;
  }

  get channel(): string {
    return this.#frame.channel;
  }

  get senderOrg(): string {
    return this.#frame.senderOrg;
  }

  get senderNode(): string {
    return this.#frame.senderNode;
  }

  *[Symbol.iterator](): Generator<Message> {
    const { bytes, recordsStart } = this.#frame;
    const reader = new FieldReader(bytes, recordsStart);
    while (reader.next()) yield new Message(bytes, reader.start, reader.end, this.#frame);
  }
}

/**
 * Resolves when a stream that ended is worth another try: once the connection is back, or, when the gateway is there and could not decide, after a
 * moment.
 */
export function passed(error: FedgateError, host: SubscriptionHost): Promise<void> {
  if (error.reason !== 'POLICY_UNAVAILABLE') return host.reconnected(error);
  return new Promise(resolve => setTimeout(resolve, error.retryAfterMs ?? UNDECIDED_MS));
}

/** Subscribes, and subscribes again after the connection broke, until it is closed or the gateway refuses. */
export class LiveClientSubscription implements Subscription {
  readonly opened: Promise<void>;
  readonly #host: SubscriptionHost;
  readonly #pattern: string;
  readonly #options: SubscribeOptions;
  readonly #siblings: Set<LiveClientSubscription>;
  readonly #frames = new Fifo<DeliveryFrame>();
  #bufferedBytes = 0;
  #call: ClientReadableStream<Buffer> | undefined;
  #paused = false;
  #closed = false;
  #everOpened = false;
  #error: FedgateError | undefined;
  #wake: (() => void) | undefined;
  #resolveOpened!: () => void;
  #rejectOpened!: (error: unknown) => void;
  readonly #onAbort = (): void => this.close();

  /** `siblings` holds it while it is open. */
  constructor(
    host: SubscriptionHost,
    pattern: string,
    options: SubscribeOptions,
    siblings: Set<LiveClientSubscription>,
  ) {
    this.#host = host;
    this.#siblings = siblings;
    this.#pattern = pattern;
    this.#options = options;
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    // Whoever only iterates learns it there.
    this.opened.catch(() => undefined);
    if (options.signal?.aborted) this.close();
    else {
      options.signal?.addEventListener('abort', this.#onAbort, { once: true });
      siblings.add(this);
      this.#start();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for await (const batch of this.batches()) yield* batch;
  }

  async *batches(): AsyncGenerator<MessageBatch> {
    try {
      for (let frame = await this.#next(); frame; frame = await this.#next()) yield new Batch(frame);
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#call?.cancel();
    this.#call = undefined;
    this.#siblings.delete(this);
    this.#rejectOpened(new FedgateError('CANCELLED', 'the subscription was closed'));
    this.#wake?.();
  }

  async #next(): Promise<DeliveryFrame | undefined> {
    while (this.#frames.length === 0) {
      if (this.#closed) return undefined;
      if (this.#error) throw this.#error;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    const frame = this.#frames.shift();
    if (frame) this.#bufferedBytes -= frame.bytes.length;
    if (this.#paused && this.#bufferedBytes < BUFFER_BYTES / 2) {
      this.#paused = false;
      this.#call?.resume();
    }
    return frame;
  }

  #start(): void {
    const { path } = MessagingServiceService.subscribe;
    const request = Buffer.from(SubscribeRequest.encode({ pattern: this.#pattern }).finish());
    const same = (bytes: Buffer): Buffer => bytes;
    const call = this.#host.channel().makeServerStreamRequest<Buffer, Buffer>(path, same, same, request);
    this.#call = call;
    this.#paused = false;
    call.on('data', (bytes: Buffer) => this.#receive(call, bytes));
    call.on('error', error => this.#ended(call, fromGrpcError(error)));
    call.on('end', () => this.#ended(call, new FedgateError('DRAINING', 'the gateway ended the subscription')));
  }

  #receive(call: ClientReadableStream<Buffer>, bytes: Buffer): void {
    if (this.#call !== call) return;
    let frame: DeliveryFrame;
    try {
      frame = readDelivery(bytes);
      if (frame.notice) return this.#notice(SubscriptionNotice.decode(frame.notice));
    } catch (cause) {
      this.#call = undefined;
      call.cancel();
      return this.#fail(new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no delivery', { cause }));
    }
    this.#frames.push(frame);
    this.#bufferedBytes += bytes.length;
    if (this.#bufferedBytes > BUFFER_BYTES) {
      this.#paused = true;
      call.pause();
    }
    this.#wake?.();
  }

  #notice({ event }: SubscriptionNotice): void {
    if (event?.$case === 'dropped') this.#options.onLoss?.({ records: Number(event.value.records), why: 'slow' });
    if (event?.$case !== 'opened') return;
    if (this.#everOpened) this.#options.onLoss?.({ records: undefined, why: 'disconnected' });
    this.#everOpened = true;
    this.#resolveOpened();
  }

  #ended(call: ClientReadableStream<Buffer>, error: FedgateError): void {
    if (this.#call !== call || this.#closed) return;
    this.#call = undefined;
    // A gateway that stops cuts its calls with CANCELLED; we did not ask for that.
    if (!error.retryable && error.reason !== 'CANCELLED') return this.#fail(error);
    passed(error, this.#host).then(
      () => {
        if (!this.#closed) this.#start();
      },
      failure => this.#fail(failure as FedgateError),
    );
  }

  #fail(error: FedgateError): void {
    this.#error = error;
    this.#rejectOpened(error);
    this.#wake?.();
  }
}
