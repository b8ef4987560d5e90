import type { FedgateError } from '../errors.js';
import { MAX_STREAMS } from './limits.js';
import type { Stream } from './stream.js';
import type { Topic, TopicListener } from './topic.js';
import type { AuthorId, Post, StreamId, StreamKey } from './types.js';

/** Why records do not come. */
export type LossReason = 'retention' | 'expired';

/** Where a reader's records go. */
export interface ReaderOut {
  /** Whether it takes something now. What does not fit is not queued: it is read from what is held, later. */
  readonly writable: boolean;
  /** Records of a post, those before `from` left out. */
  post(post: Post, from: number): void;
  /** Records up to `last` that will not come. */
  lost(stream: StreamId, last: number, records: number, why: LossReason): void;
  muted(author: AuthorId, error: FedgateError): void;
}

export interface ReaderStart {
  /** What to begin with in streams that `after` does not name. */
  readonly from: 'new' | 'earliest';
  /** How far the reader has each stream. */
  readonly after: ReadonlyMap<StreamKey, number>;
}

/** One subscription: a place in each stream of a topic. It holds no records, so however slow it is it costs nobody anything. */
export class TopicReader implements TopicListener {
  readonly #topic: Topic;
  readonly #out: ReaderOut;
  readonly #now: () => number;
  readonly #places = new Map<StreamKey, number>();
  readonly #due = new Set<Stream>();
  /** Streams that nobody named and that begin later are read from where they are first seen. */
  readonly #onlyNew: boolean;

  constructor(topic: Topic, { from, after }: ReaderStart, out: ReaderOut, now: () => number) {
    this.#topic = topic;
    this.#out = out;
    this.#now = now;
    this.#onlyNew = from === 'new' && after.size === 0;
    for (const [key, sequence] of after) this.#places.set(key, sequence);
    for (const stream of topic.streams) {
      if (!this.#places.has(stream.key)) this.#places.set(stream.key, this.#onlyNew ? stream.last : 0);
      this.#due.add(stream);
    }
  }

  /** How far it has each stream that is known. */
  get places(): { readonly stream: StreamId; readonly sequence: number }[] {
    return [...this.#topic.streams].map(({ id, key }) => ({ stream: id, sequence: this.#places.get(key) ?? 0 }));
  }

  /** From now on it hears of what comes; first it gets what is there. */
  open(): void {
    this.#topic.listeners.add(this);
    this.pump();
  }

  close(): void {
    this.#topic.listeners.delete(this);
    this.#due.clear();
  }

  changed(stream: Stream): void {
    if (!this.#places.has(stream.key)) {
      if (this.#places.size >= 2 * MAX_STREAMS) this.#forget();
      this.#places.set(stream.key, this.#onlyNew ? stream.first - 1 : 0);
    }
    this.#due.add(stream);
    this.pump();
  }

  muted(author: AuthorId, error: FedgateError): void {
    this.#out.muted(author, error);
  }

  /** Hands out what is due for as long as it is taken, a post of each stream in turn. */
  pump(): void {
    for (const stream of this.#due) {
      if (!this.#out.writable) return;
      this.#due.delete(stream);
      this.#next(stream);
    }
  }

  #next(stream: Stream): void {
    const place = this.#places.get(stream.key) ?? 0;
    const post = stream.after(place);
    const end = post ? post.first - 1 : stream.last;
    if (end > place) this.#out.lost(stream.id, end, end - place, 'retention');
    if (post) {
      const from = Math.max(post.first, place + 1);
      if (post.expireMs > this.#now()) this.#out.post(post, from);
      else this.#out.lost(stream.id, post.last, post.last - from + 1, 'expired');
    }
    this.#places.set(stream.key, Math.max(place, post?.last ?? end));
    // Behind the others: a set is walked on over what is added to it.
    if (post && stream.last > post.last) this.#due.add(stream);
  }

  #forget(): void {
    const known = new Set([...this.#topic.streams].map(({ key }) => key));
    for (const key of [...this.#places.keys()]) if (!known.has(key)) this.#places.delete(key);
  }
}
