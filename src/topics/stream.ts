import type { Post, StreamId, StreamKey } from './types.js';
import { streamKey } from './types.js';

/** What is held of one stream, and how far it came. */
export class Stream {
  readonly id: StreamId;
  readonly key: StreamKey;
  #posts: Post[] = [];
  #head = 0;
  #bytes = 0;
  #records = 0;
  #last: number;
  /** SHA-256 of the header of the post that ended with `last`. Undefined: not known, none came or there is a hole before. */
  #lastSha256: Buffer | undefined;
  /** When the last post was signed, and until when one of those that came may be of use. */
  timeMs = 0;
  aliveMs = 0;

  constructor(id: StreamId, last = 0) {
    this.id = id;
    this.key = streamKey(id);
    this.#last = last;
  }

  /** The number of the last record that came. */
  get last(): number {
    return this.#last;
  }

  /** The number of the first record that is held; one more than `last` when none is. */
  get first(): number {
    return this.#posts[this.#head]?.first ?? this.#last + 1;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get records(): number {
    return this.#records;
  }

  get oldest(): Post | undefined {
    return this.#posts[this.#head];
  }

  /** The digest that the next post must name. Undefined: any, because what stands before is not known. */
  get lastSha256(): Buffer | undefined {
    return this.#last === 0 ? EMPTY : this.#lastSha256;
  }

  /** Takes a post behind the last. What lies between is lost. */
  append(post: Post): void {
    this.#posts.push(post);
    this.#bytes += costOf(post);
    this.#records += post.records.count;
    this.passed(post);
  }

  /** A post came that is not kept: its time is over. */
  passed({ last, headerSha256, timeMs, expireMs }: Post): void {
    this.#last = last;
    this.#lastSha256 = headerSha256;
    this.timeMs = Math.max(this.timeMs, timeMs);
    this.aliveMs = Math.max(this.aliveMs, expireMs);
  }

  /** Lets the oldest post go. */
  drop(): Post | undefined {
    const post = this.#posts[this.#head];
    if (!post) return undefined;
    this.#bytes -= costOf(post);
    this.#records -= post.records.count;
    this.#head++;
    if (this.#head > 256 && this.#head * 2 > this.#posts.length) {
      this.#posts = this.#posts.slice(this.#head);
      this.#head = 0;
    } else this.#posts.fill(undefined as never, this.#head - 1, this.#head);
    return post;
  }

  /** The post that holds the record after a number, or the first one behind it that is held. */
  after(sequence: number): Post | undefined {
    if (sequence >= this.#last) return undefined;
    let low = this.#head;
    let high = this.#posts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#posts[middle] as Post).last > sequence) high = middle;
      else low = middle + 1;
    }
    return this.#posts[low];
  }
}

const EMPTY = Buffer.alloc(0);
/** What a post costs beside its bytes, about. */
const POST_OVERHEAD_BYTES = 512;

/** Bytes of memory that a post takes, about. */
export const costOf = (post: Post): number => post.frame.length + POST_OVERHEAD_BYTES;
