import type { FedgateError } from '../errors.js';
import { AuthorMeter } from './meter.js';
import { costOf, type Stream } from './stream.js';
import type { AuthorId, Post } from './types.js';

/** How much of a topic is held. */
export interface Retention {
  readonly records: number;
  readonly bytes: number;
  readonly keepMs: number;
}

/** Hears of a topic. */
export interface TopicListener {
  /** Something came, or is no longer held. */
  changed(stream: Stream): void;
  /** Nothing is taken of an author any more. */
  muted(author: AuthorId, error: FedgateError): void;
}

/** What is held of one topic, and who listens to it. */
export class Topic {
  readonly name: string;
  readonly streams = new Set<Stream>();
  readonly listeners = new Set<TopicListener>();
  readonly #retention: Retention;
  readonly #meters = new Map<string, AuthorMeter>();
  records = 0;
  bytes = 0;

  constructor(name: string, retention: Retention) {
    this.name = name;
    this.#retention = retention;
  }

  /** Holds a post of a stream. */
  append(stream: Stream, post: Post): void {
    stream.append(post);
    this.records += post.records.count;
    this.bytes += costOf(post);
  }

  /** Streams of one author, in the order of their epochs. */
  streamsOf({ org, gateway }: AuthorId): Stream[] {
    const own = [...this.streams].filter(({ id }) => id.org === org && id.gateway === gateway);
    return own.sort((a, b) => (a.id.epoch < b.id.epoch ? -1 : 1));
  }

  /** Counts a post against the rate of its author. False: it is more than an author may. */
  admits({ stream: { org, gateway }, timeMs, frame }: Post): boolean {
    const name = `${org}/${gateway}`;
    let meter = this.#meters.get(name);
    if (!meter) {
      meter = AuthorMeter.ofOther();
      this.#meters.set(name, meter);
    }
    return meter.take(timeMs, frame.length);
  }

  /** Forgets a stream, and how fast its author was when that was the last one. */
  forget(stream: Stream): void {
    while (this.#drop(stream)) {
      // Nothing of it is held any more.
    }
    this.streams.delete(stream);
    const { org, gateway } = stream.id;
    if (this.streamsOf(stream.id).length === 0) this.#meters.delete(`${org}/${gateway}`);
  }

  /** Lets go of what is more than is to be held: of whoever takes most, so that nobody drives others out. Returns what went. */
  trim(): Post[] {
    const { records, bytes } = this.#retention;
    const dropped: Post[] = [];
    while (this.records > records || this.bytes > bytes) {
      const some = this.dropLargest(this.bytes > bytes ? 'bytes' : 'records');
      if (some.length === 0) break;
      dropped.push(...some);
    }
    return dropped;
  }

  /** Lets the oldest post of the largest stream go. */
  dropLargest(by: 'bytes' | 'records' = 'bytes'): Post[] {
    if (this.streams.size === 0) return [];
    const post = this.#drop([...this.streams].reduce((most, each) => (each[by] > most[by] ? each : most)));
    return post ? [post] : [];
  }

  /** Lets go of what is too old, or of no use any more. Returns what went. */
  expire(now: number): Post[] {
    const dropped: Post[] = [];
    for (const stream of this.streams) {
      for (let oldest = stream.oldest; oldest; oldest = stream.oldest) {
        if (oldest.timeMs + this.#retention.keepMs > now && oldest.expireMs > now) break;
        const post = this.#drop(stream);
        if (post) dropped.push(post);
      }
    }
    return dropped;
  }

  /** Whether a post is one that would go at once. */
  isOver({ timeMs, expireMs }: Post, now: number): boolean {
    return timeMs + this.#retention.keepMs <= now || expireMs <= now;
  }

  #drop(stream: Stream): Post | undefined {
    const post = stream.drop();
    if (!post) return undefined;
    this.records -= post.records.count;
    this.bytes -= costOf(post);
    for (const listener of this.listeners) listener.changed(stream);
    return post;
  }
}
