import {
  SubscribeTopicRequest,
  TopicNotice,
  TopicServiceService,
} from '../../../gen/ts/fedgate/messaging/v1/topic_service.js';
import { FedgateError, isReason } from '../../errors.js';
import { type ClientMethod, callServerStream } from '../../transport/client-calls.js';
import { FieldReader } from '../../wire/reader.js';
import { readTopicDelivery, type TopicFrame } from '../../wire/topic-delivery.js';
import type { SubscriptionHost } from '../subscription.js';
import { TopicMessage, type TopicPlace, type TopicSubscribeOptions } from './types.js';

/** An open subscription to a topic. Iterate it once. */
export interface TopicSubscription extends AsyncIterable<TopicMessage> {
  /** Resolves when the gateway has opened it. Rejects when it refuses. */
  readonly opened: Promise<void>;
  /** How far it came in the records of each author: to be kept, and given to the next one as `after`. */
  readonly places: readonly TopicPlace[];
  close(): void;
}

const METHOD: ClientMethod<SubscribeTopicRequest, Buffer> = {
  path: TopicServiceService.subscribeTopic.path,
  requestSerialize: request => Buffer.from(SubscribeTopicRequest.encode(request).finish()),
  responseDeserialize: bytes => bytes,
};
const START = { new: 1, earliest: 2 } as const;
const WHY: Readonly<Record<number, 'retention' | 'expired'>> = { 2: 'expired' };

/** Reads a topic, and goes on where it was after the connection broke, until it is closed or the gateway refuses. */
export class ClientTopicSubscription implements TopicSubscription {
  readonly opened: Promise<void>;
  readonly #host: SubscriptionHost;
  readonly #topic: string;
  readonly #options: TopicSubscribeOptions;
  readonly #siblings: Set<ClientTopicSubscription>;
  readonly #places = new Map<string, TopicPlace>();
  readonly #ended = new AbortController();
  readonly #messages: AsyncGenerator<TopicMessage>;
  readonly #first: Promise<IteratorResult<TopicMessage>>;
  readonly #onAbort = (): void => this.close();
  #everOpened = false;
  #resolveOpened!: () => void;
  #rejectOpened!: (error: unknown) => void;

  /** `siblings` holds it while it is open. */
  constructor(
    host: SubscriptionHost,
    topic: string,
    options: TopicSubscribeOptions,
    siblings: Set<ClientTopicSubscription>,
  ) {
    this.#host = host;
    this.#topic = topic;
    this.#options = options;
    this.#siblings = siblings;
    for (const place of options.after ?? []) this.#places.set(nameOf(place), place);
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    // Whoever only iterates learns it there.
    this.opened.catch(() => undefined);
    siblings.add(this);
    if (options.signal?.aborted) this.close();
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#messages = this.#run();
    // It begins now, and holds no more than one message until somebody iterates.
    this.#first = this.#messages.next();
    this.#first.catch(() => undefined);
  }

  get places(): readonly TopicPlace[] {
    return [...this.#places.values()];
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TopicMessage> {
    try {
      for (let next = await this.#first; !next.done; next = await this.#messages.next()) {
        this.#places.set(nameOf(next.value.place), next.value.place);
        yield next.value;
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#siblings.delete(this);
    this.#rejectOpened(new FedgateError('CANCELLED', 'the subscription was closed'));
  }

  async *#run(): AsyncGenerator<TopicMessage> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        for await (const bytes of callServerStream(this.#host.channel(), METHOD, this.#request(), signal))
          yield* this.#take(bytes);
        if (!signal.aborted) throw new FedgateError('DRAINING', 'the gateway ended the subscription');
      } catch (error) {
        if (signal.aborted) return;
        await this.#again(error as FedgateError);
      }
    }
  }

  /** Waits until it makes sense to try again. Throws when it never does. */
  async #again(error: FedgateError): Promise<void> {
    try {
      // A gateway that stops cuts its calls with CANCELLED; we did not ask for that.
      if (!error.retryable && error.reason !== 'CANCELLED') throw error;
      await this.#host.reconnected(error);
    } catch (failure) {
      this.#rejectOpened(failure);
      throw failure;
    }
  }

  #request(): SubscribeTopicRequest {
    const after = this.places.map(place => ({
      ...place,
      epoch: BigInt(place.epoch),
      sequence: BigInt(place.sequence),
    }));
    // Whoever began to write while the connection was broken is read from the beginning.
    const from = this.#everOpened ? 'earliest' : (this.#options.from ?? 'new');
    return { topic: this.#topic, start: START[from], after };
  }

  *#take(bytes: Buffer): Generator<TopicMessage> {
    let frame: TopicFrame;
    try {
      frame = readTopicDelivery(bytes);
      if (frame.notice) return this.#notice(TopicNotice.decode(frame.notice));
    } catch (cause) {
      throw new FedgateError('FRAME_MALFORMED', 'the gateway sent what is no delivery', { cause });
    }
    const reader = new FieldReader(bytes, frame.recordsStart);
    for (let sequence = frame.sequence; reader.next(); sequence++)
      yield new TopicMessage(this.#topic, frame, reader.start, reader.end, sequence);
  }

  #notice({ event }: TopicNotice): void {
    if (event?.$case === 'opened') {
      // Where it begins is kept: when the connection breaks it goes on from there.
      if (!this.#everOpened) for (const place of event.value.places) this.#begin(toPlace(place));
      this.#everOpened = true;
      this.#resolveOpened();
    } else if (event?.$case === 'lost' && event.value.place) {
      const place = toPlace(event.value.place);
      this.#places.set(nameOf(place), place);
      const { records, why } = event.value;
      this.#options.onLoss?.({ place, records: Number(records), why: WHY[why] ?? 'retention' });
    } else if (event?.$case === 'muted') {
      const { org, gateway, reason, message } = event.value;
      const error = new FedgateError(isReason(reason) ? reason : 'INTERNAL', message);
      this.#options.onMuted?.({ org, gateway, error });
    }
  }

  #begin(place: TopicPlace): void {
    const known = this.#places.get(nameOf(place));
    if (!known) this.#places.set(nameOf(place), place);
  }
}

const nameOf = ({ org, gateway, epoch }: TopicPlace): string => `${org}/${gateway} ${epoch}`;

const toPlace = ({
  org,
  gateway,
  epoch,
  sequence,
}: {
  readonly org: string;
  readonly gateway: string;
  readonly epoch: bigint;
  readonly sequence: bigint;
}): TopicPlace => ({ org, gateway, epoch: String(epoch), sequence: Number(sequence) });
