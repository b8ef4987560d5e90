import type { Client } from '@grpc/grpc-js';
import {
  type ListTopicsResponse,
  TopicServiceService as methods,
} from '../../../gen/ts/fedgate/messaging/v1/topic_service.js';
import { FedgateError, isReason } from '../../errors.js';
import { callUnary } from '../../transport/client-calls.js';
import type { RecordInit } from '../../wire/record-codec.js';
import type { SubscriptionHost } from '../subscription.js';
import { TopicPublisher } from './publisher.js';
import { ClientTopicSubscription, type TopicSubscription } from './subscription.js';
import type { TopicPlace, TopicPublishOptions, TopicReceipt, TopicSubscribeOptions } from './types.js';

/** A topic as the own gateway knows it. */
export interface TopicInfo {
  readonly topic: string;
  /** What the gateway holds. */
  readonly records: number;
  readonly bytes: number;
  /** Subscriptions of nodes of the own organisation. */
  readonly readers: number;
  /** Linked organisations with which it is shared. */
  readonly linkedOrgs: readonly string[];
  readonly streams: readonly TopicStreamInfo[];
  /** Authors of which nothing is taken. */
  readonly muted: readonly TopicMuted[];
}

/** The records of one author in one epoch. */
export interface TopicStreamInfo extends TopicPlace {
  /** The first record that is held; one more than `sequence`, the last that came, when none is. */
  readonly first: number;
  /** From which organisation it comes. Undefined: it is the own gateway's, or nobody sends it now. */
  readonly source: string | undefined;
  /** When the last was signed. */
  readonly time: Date;
}

export interface TopicMuted {
  readonly org: string;
  readonly gateway: string;
  readonly error: FedgateError;
  /** Undefined: until the gateway starts again. */
  readonly until: Date | undefined;
  /** A serialised `fedgate.federation.v1.TopicEvidence`. */
  readonly evidence: Uint8Array | undefined;
}

/** A neighbouring gateway whose frames about topics are ignored for a while. */
export interface PausedPeer {
  readonly org: string;
  readonly error: FedgateError;
  readonly until: Date;
}

export interface TopicList {
  readonly topics: readonly TopicInfo[];
  readonly paused: readonly PausedPeer[];
}

const TIMEOUT_MS = 20_000;

/** Publishers and subscriptions of a client. */
export class ClientTopics {
  readonly #outgoing: () => Client;
  readonly #any: () => Client;
  readonly #host: SubscriptionHost;
  readonly #publishers = new Map<string, TopicPublisher>();
  readonly #subscriptions = new Set<ClientTopicSubscription>();

  constructor(host: SubscriptionHost, outgoing: () => Client, any: () => Client) {
    this.#host = host;
    this.#outgoing = outgoing;
    this.#any = any;
  }

  publisher(topic: string): TopicPublisher {
    let publisher = this.#publishers.get(topic);
    if (!publisher) {
      publisher = new TopicPublisher(topic, this.#outgoing);
      this.#publishers.set(topic, publisher);
    }
    return publisher;
  }

  subscribe(topic: string, options: TopicSubscribeOptions): TopicSubscription {
    return new ClientTopicSubscription(this.#host, topic, options, this.#subscriptions);
  }

  /** See FedgateClient.topics. */
  async list(topic = ''): Promise<TopicList> {
    return toList(await callUnary(this.#any(), methods.listTopics, { topic }, { timeoutMs: TIMEOUT_MS }));
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#publishers.values()].map(publisher => publisher.drain()));
  }

  close(): void {
    for (const subscription of [...this.#subscriptions]) subscription.close();
  }
}

/** A topic: what nodes of every organisation that shares it publish to and read. */
export class Topic {
  /** `topic://name`, or the name, as it was given. */
  readonly name: string;
  readonly #topics: ClientTopics;

  /** Use `client.topic`. */
  constructor(name: string, topics: ClientTopics) {
    this.name = name;
    this.#topics = topics;
  }

  /**
   * Publishes a record. Resolves when it is on stable storage of the own gateway, from where it spreads. Those of one program stay in order.
   *
   * Rejects with NOT_GRANTED, LIMIT_REACHED (faster than an author may), FRAME_TOO_LARGE, STORE_FULL (not published), OUTCOME_UNKNOWN (perhaps).
   */
  async publish(record: RecordInit | RecordInit['payload'], options: TopicPublishOptions = {}): Promise<TopicReceipt> {
    const init = typeof record === 'string' || record instanceof Uint8Array ? { payload: record } : record;
    return this.#topics.publisher(this.name).publish(init, options.ttlMs ?? 0);
  }

  /** Reads it. Begins at once; iterate it to receive. What the gateway refuses, the iteration throws: NOT_GRANTED, FIELD_INVALID, LIMIT_REACHED. */
  subscribe(options: TopicSubscribeOptions = {}): TopicSubscription {
    return this.#topics.subscribe(this.name, options);
  }
}

const toError = (reason: string, message: string): FedgateError =>
  new FedgateError(isReason(reason) ? reason : 'INTERNAL', message);

const toList = ({ topics, paused }: ListTopicsResponse): TopicList => ({
  topics: topics.map(({ records, bytes, streams, muted, ...rest }) => ({
    ...rest,
    records: Number(records),
    bytes: Number(bytes),
    streams: streams.map(({ last, first, sourceOrg, timeMs }) => ({
      org: last?.org ?? '',
      gateway: last?.gateway ?? '',
      epoch: String(last?.epoch ?? 0n),
      sequence: Number(last?.sequence ?? 0n),
      first: Number(first),
      source: sourceOrg === '' ? undefined : sourceOrg,
      time: new Date(Number(timeMs)),
    })),
    muted: muted.map(({ org, gateway, reason, message, untilMs, evidence }) => ({
      org,
      gateway,
      error: toError(reason, message),
      until: untilMs === 0n ? undefined : new Date(Number(untilMs)),
      evidence: evidence.length > 0 ? evidence : undefined,
    })),
  })),
  paused: paused.map(({ org, reason, message, untilMs }) => ({
    org,
    error: toError(reason, message),
    until: new Date(Number(untilMs)),
  })),
});
