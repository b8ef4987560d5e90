import { randomInt } from 'node:crypto';
import { TopicAuthorRow, TopicPostRow } from '../../gen/ts/fedgate/store/v1/topic.js';
import { FedgateError } from '../errors.js';
import { sha256 } from '../sha256.js';
import { key } from '../store/keys.js';
import { Change, type Store } from '../store/store.js';
import { openLaneFrame } from '../wire/lane-frames.js';
import type { RecordBlock } from '../wire/records.js';
import { checkPostSize } from '../wire/topic-frames.js';
import { formatTopic } from './address.js';
import { AuthorMeter } from './meter.js';
import { readPost, sealPost } from './post.js';
import type { AuthorId, Post, StreamId } from './types.js';

export interface AuthorOptions {
  readonly store: Store;
  readonly federation: string;
  readonly own: AuthorId;
  /** The own certificate, DER, and what signs with its key. */
  readonly certificate: Buffer;
  readonly sign: (header: Buffer) => Buffer;
  readonly now: () => number;
}

/** What an author hands its posts to. */
export interface AuthorSink {
  /** Makes room for a stream. Throws LIMIT_REACHED. */
  resume(id: StreamId, last: number): void;
  /** A post that is on stable storage. `quiet`: since before the gateway started. */
  publish(post: Post, quiet?: boolean): void;
}

/** Where the own gateway is on a topic. Never changed in place: what is committed and what is under way are two of these. */
interface Standing {
  readonly epoch: bigint;
  readonly next: number;
  readonly previousSha256: Buffer;
  readonly timeMs: number;
}

interface Own {
  committed: Standing;
  tentative: Standing;
  readonly meter: AuthorMeter;
}

const AUTHORS = 'topic-author';
const POSTS = 'topic-post';
const STEP_ROWS = 1_000;
const EMPTY = Buffer.alloc(0);

/**
 * The own gateway as an author: numbers and signs what its nodes publish.
 *
 * Post and number are on stable storage before anybody sees them, so that no crash reuses a number. In a restored backup the numbers given
 * since are unknown: there an epoch begins, as in durable streams.
 */
export class Author {
  readonly #options: AuthorOptions;
  readonly #certificateSha256: Buffer;
  readonly #topics = new Map<string, Own>();
  /** Rows of posts that are held no longer: they go with the next change. */
  readonly #gone = new Map<string, Buffer>();
  #sink: AuthorSink | undefined;

  private constructor(options: AuthorOptions) {
    this.#options = options;
    this.#certificateSha256 = sha256(options.certificate);
  }

  /** Reads what is stored. */
  static async load(options: AuthorOptions): Promise<Author> {
    const author = new Author(options);
    for await (const row of rowsOf(options.store, AUTHORS)) {
      // What is not readable gets another epoch when it is written to.
      if (!row.damaged) author.#continue(row.key.subarray(0, -1).toString(), TopicAuthorRow.decode(row.value));
    }
    return author;
  }

  /** Hands over what is stored, and from then on what is published. */
  async start(sink: AuthorSink): Promise<void> {
    this.#sink = sink;
    for await (const row of rowsOf(this.#options.store, POSTS)) {
      const post = row.damaged ? undefined : this.#read(TopicPostRow.decode(row.value));
      if (!post) continue;
      sink.publish(post, true);
      this.#topics.get(post.stream.topic)?.meter.take(post.timeMs, post.frame.length);
    }
    for (const [topic, { committed }] of this.#topics) sink.resume(this.#stream(topic, committed), committed.next - 1);
  }

  /** Undefined: nothing was published on it by this gateway. */
  epochOf(topic: string): bigint | undefined {
    return this.#topics.get(topic)?.tentative.epoch;
  }

  /**
   * Publishes records of a node. Resolves with the post when it is on stable storage and spreads. Rejects with FRAME_TOO_LARGE, LIMIT_REACHED,
   * STORE_FULL, STORE_READ_ONLY, STORE_FAILED.
   */
  async publish(topic: string, node: string, records: RecordBlock, ttlMs: number): Promise<Post> {
    checkPostSize(records);
    const own = this.#topics.get(topic) ?? this.#begin();
    const { tentative } = own;
    const stream = this.#stream(topic, tentative);
    this.#sink?.resume(stream, tentative.next - 1);
    // Times do not fall, so that what is judged by them is the same everywhere.
    const timeMs = Math.max(this.#options.now(), tentative.timeMs);
    const { federation, certificate, sign } = this.#options;
    const post = sealPost(
      {
        federation,
        stream,
        node,
        first: tentative.next,
        timeMs,
        expireMs: timeMs + ttlMs,
        previousSha256: tentative.previousSha256,
        certificate,
        certificateSha256: this.#certificateSha256,
      },
      records,
      sign,
    );
    if (!own.meter.take(timeMs, post.frame.length)) throw tooFast(topic);
    this.#topics.set(topic, own);
    const next = { epoch: tentative.epoch, next: post.last + 1, previousSha256: post.headerSha256, timeMs };
    own.tentative = next;
    try {
      await this.#store(topic, post, next);
    } catch (error) {
      own.tentative = own.committed;
      throw error;
    }
    own.committed = next;
    this.#sink?.publish(post);
    return post;
  }

  /** An own post is held no longer: it need not be stored either. */
  dropped(post: Post): void {
    const row = rowKey(post);
    this.#gone.set(row.toString('latin1'), row);
  }

  /** Removes what is held no longer, if that was not done with something else. */
  async tidy(): Promise<void> {
    if (this.#gone.size > 0) await this.#options.store.commit(this.#removals(), { patient: true });
  }

  #store(topic: string, post: Post, { epoch, next, previousSha256, timeMs }: Standing): Promise<void> {
    const { store } = this.#options;
    const author = { epoch, storeId: store.id, nextSequence: BigInt(next), previousSha256, timeMs: BigInt(timeMs) };
    const row = { frame: post.frame, certificate: post.certificate };
    const change = this.#removals()
      .put(AUTHORS, key(topic), Buffer.from(TopicAuthorRow.encode(author).finish()))
      .put(POSTS, rowKey(post), Buffer.from(TopicPostRow.encode(row).finish()));
    return store.commit(change);
  }

  #removals(): Change {
    const change = new Change();
    for (const row of this.#gone.values()) change.remove(POSTS, row);
    this.#gone.clear();
    return change;
  }

  #begin(above = 0n): Own {
    const standing = { epoch: drawEpoch(this.#options.now(), above), next: 1, previousSha256: EMPTY, timeMs: 0 };
    return { committed: standing, tentative: standing, meter: AuthorMeter.ofOwn() };
  }

  #continue(topic: string, row: TopicAuthorRow): void {
    if (!Buffer.from(row.storeId).equals(this.#options.store.id)) {
      this.#topics.set(topic, this.#begin(row.epoch));
      return;
    }
    const standing = {
      epoch: row.epoch,
      next: Number(row.nextSequence),
      previousSha256: Buffer.from(row.previousSha256),
      timeMs: Number(row.timeMs),
    };
    this.#topics.set(topic, { committed: standing, tentative: standing, meter: AuthorMeter.ofOwn() });
  }

  #stream(topic: string, { epoch }: Standing): StreamId {
    return { topic, ...this.#options.own, epoch };
  }

  /** Undefined: it is not what was written, or of another gateway's name. */
  #read({ frame, certificate }: TopicPostRow): Post | undefined {
    try {
      const opened = openLaneFrame(Buffer.from(frame));
      if (!('topicPost' in opened)) return undefined;
      return readPost(opened.topicPost, this.#options.federation, () => Buffer.from(certificate));
    } catch (error) {
      if (error instanceof FedgateError) return undefined;
      throw error;
    }
  }
}

const rowKey = ({ stream, last }: Post): Buffer => key(stream.topic, stream.epoch, last);

/** Higher than any that was drawn before, also by a store that was lost: unless the clock went back, which `above` mends. */
function drawEpoch(nowMs: number, above: bigint): bigint {
  const drawn = BigInt(nowMs) * 2n ** 20n + BigInt(randomInt(2 ** 20));
  return drawn > above ? drawn : above + 1n;
}

async function* rowsOf(store: Store, table: string) {
  for (let from = Buffer.alloc(0); ; ) {
    const rows = await store.scan(table, { from, limit: STEP_ROWS });
    yield* rows;
    const last = rows.at(-1);
    if (rows.length < STEP_ROWS || !last) return;
    from = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

const tooFast = (topic: string): FedgateError =>
  new FedgateError('LIMIT_REACHED', `this gateway publishes on ${formatTopic(topic)} as fast as an author may`, {
    metadata: { limit: 'rate of an author' },
    retryAfterMs: 1_000,
  });
