import { FedgateError } from '../errors.js';
import { formatTopic } from './address.js';
import { MAX_AHEAD_MS, MAX_EPOCHS, MAX_STREAMS, MAX_STREAMS_PER_ORG, MAX_TOPICS } from './limits.js';
import { Stream } from './stream.js';
import { type Retention, Topic } from './topic.js';
import { type Post, type StreamId, type StreamKey, streamKey } from './types.js';

export interface HoldingsOptions {
  readonly retention: (topic: string) => Retention;
  /** The most bytes of all topics together. */
  readonly maxBytes: number;
  readonly now: () => number;
  /** Hears what is held no longer. */
  readonly onDropped: (posts: readonly Post[]) => void;
  /** Hears of streams that are forgotten. */
  readonly onForgotten: (stream: Stream) => void;
  /** Whether a stream is to be kept although nothing of it is held. */
  readonly isKept: (id: StreamId) => boolean;
}

/** All that a gateway holds of topics. Bounded in topics, streams, records, bytes and age. */
export class Holdings {
  readonly topics = new Map<string, Topic>();
  readonly streams = new Map<StreamKey, Stream>();
  readonly #options: HoldingsOptions;
  readonly #perOrg = new Map<string, number>();

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  get bytes(): number {
    let total = 0;
    for (const { bytes } of this.topics.values()) total += bytes;
    return total;
  }

  /** Throws LIMIT_REACHED. */
  topic(name: string): Topic {
    const known = this.topics.get(name);
    if (known) return known;
    if (this.topics.size >= MAX_TOPICS) throw full('topics', MAX_TOPICS, name);
    const topic = new Topic(name, this.#options.retention(name));
    this.topics.set(name, topic);
    return topic;
  }

  stream(key: StreamKey): Stream | undefined {
    return this.streams.get(key);
  }

  /** The stream, made when it is a new one. Throws LIMIT_REACHED, or REPLAYED for an epoch before all that are still known of its author. */
  open(id: StreamId, last = 0): Stream {
    const known = this.streams.get(streamKey(id));
    if (known) return known;
    const topic = this.topic(id.topic);
    const epochs = topic.streamsOf(id);
    const oldest = epochs[0];
    if (oldest && epochs.length >= MAX_EPOCHS) {
      if (id.epoch < oldest.id.epoch) throw old(id);
      this.#forget(oldest);
    }
    const ofOrg = this.#perOrg.get(id.org) ?? 0;
    if (ofOrg >= MAX_STREAMS_PER_ORG) throw full(`streams of ${id.org}`, MAX_STREAMS_PER_ORG, id.topic);
    if (this.streams.size >= MAX_STREAMS) throw full('streams', MAX_STREAMS, id.topic);
    const stream = new Stream(id, last);
    topic.streams.add(stream);
    this.streams.set(stream.key, stream);
    this.#perOrg.set(id.org, ofOrg + 1);
    return stream;
  }

  /** Holds a post, or only notes that it came when its time is over. Listeners hear of it. */
  append(stream: Stream, post: Post): void {
    const topic = this.topic(stream.id.topic);
    if (topic.isOver(post, this.#options.now())) stream.passed(post);
    else topic.append(stream, post);
    for (const listener of topic.listeners) listener.changed(stream);
    this.#dropped(topic.trim());
    this.#trimAll();
  }

  /** Lets go of what is too old, and forgets streams and topics of which nothing is left that could come again. */
  sweep(): void {
    const now = this.#options.now();
    for (const topic of [...this.topics.values()]) {
      this.#dropped(topic.expire(now));
      for (const stream of [...topic.streams]) {
        const dead = stream.oldest === undefined && stream.aliveMs + MAX_AHEAD_MS < now;
        if (dead && !this.#options.isKept(stream.id)) this.#forget(stream);
      }
      if (topic.streams.size === 0 && topic.listeners.size === 0) this.topics.delete(topic.name);
    }
  }

  /** What all topics hold together is bounded too: the largest gives way. */
  #trimAll(): void {
    const { maxBytes } = this.#options;
    while (this.bytes > maxBytes) {
      const largest = [...this.topics.values()].reduce((most, each) => (each.bytes > most.bytes ? each : most));
      const dropped = largest.dropLargest();
      if (dropped.length === 0) return;
      this.#dropped(dropped);
    }
  }

  #dropped(posts: readonly Post[]): void {
    if (posts.length > 0) this.#options.onDropped(posts);
  }

  #forget(stream: Stream): void {
    const { topic, org } = stream.id;
    this.topics.get(topic)?.forget(stream);
    this.streams.delete(stream.key);
    const left = (this.#perOrg.get(org) ?? 1) - 1;
    if (left > 0) this.#perOrg.set(org, left);
    else this.#perOrg.delete(org);
    this.#options.onForgotten(stream);
  }
}

const full = (what: string, most: number, topic: string): FedgateError =>
  new FedgateError('LIMIT_REACHED', `${formatTopic(topic)}: there are ${most} ${what} already`, {
    metadata: { limit: what },
    retryAfterMs: 60_000,
  });

const old = ({ org, gateway, topic, epoch }: StreamId): FedgateError =>
  new FedgateError('REPLAYED', `epoch ${epoch} of ${org}/${gateway} on ${formatTopic(topic)} is over long since`);
