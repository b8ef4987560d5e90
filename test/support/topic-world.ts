import { createHmac } from 'node:crypto';
import { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { sha256 } from '../../src/sha256.js';
import { TopicGrants, type TopicRule } from '../../src/topics/grants.js';
import { TICK_MS } from '../../src/topics/limits.js';
import type { Neighbour } from '../../src/topics/neighbour.js';
import { sealPost } from '../../src/topics/post.js';
import type { LossReason, ReaderStart, TopicReader } from '../../src/topics/reader.js';
import type { Retention } from '../../src/topics/topic.js';
import { Topics } from '../../src/topics/topics.js';
import type { AuthorId, NeighbourOut, Post, SignedHeader, StreamId, TopicsFrame } from '../../src/topics/types.js';
import { RecordEncoder } from '../../src/wire/record-codec.js';
import type { RecordBlock } from '../../src/wire/records.js';

/** Many gateways in one process, in a time of their own: the same seed plays the same story. */

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** A clock that jumps from event to event. */
export class VirtualTime {
  nowMs = 1_800_000_000_000;
  #order = 0;
  readonly #heap: Event[] = [];

  after(ms: number, run: () => void): void {
    this.#heap.push({ atMs: this.nowMs + ms, order: this.#order++, run });
    for (let i = this.#heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (before(this.#heap[parent] as Event, this.#heap[i] as Event)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  run(ms: number): void {
    const end = this.nowMs + ms;
    for (let next = this.#heap[0]; next && next.atMs <= end; next = this.#heap[0]) {
      this.nowMs = next.atMs;
      this.#pop();
      next.run();
    }
    this.nowMs = end;
  }

  #pop(): void {
    const last = this.#heap.pop() as Event;
    if (this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let i = 0; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2];
      let least = i;
      for (const child of [left, right])
        if (child < this.#heap.length && before(this.#heap[child] as Event, this.#heap[least] as Event)) least = child;
      if (least === i) return;
      this.#swap(i, least);
      i = least;
    }
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b] as Event, this.#heap[a] as Event];
  }
}

const before = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export const FEDERATION = 'fed.example';
export const TOPIC = 'prices';
export const OPEN_RULE: TopicRule = {
  topic: '**',
  publish: ['*'],
  subscribe: ['*'],
  authors: ['*'],
  peers: ['*'],
  relay: true,
};
export const PLENTY: Retention = { records: 100_000, bytes: 64 * 1024 * 1024, keepMs: 3_600_000 };

/** A signature that costs little and that nobody else here makes: the certificate stands for the key. */
export const certificateOf = ({ org, gateway }: AuthorId): Buffer => Buffer.from(`certificate of ${org}/${gateway}`);
export const signAs =
  (author: AuthorId) =>
  (header: Buffer): Buffer =>
    createHmac('sha256', certificateOf(author)).update(header).digest();

export function block(texts: readonly string[]): RecordBlock {
  const encoder = new RecordEncoder(1024, 0);
  for (const text of texts) encoder.add({ payload: text }, 1);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: texts.length };
}

export interface WorldOptions {
  readonly seed: number;
  readonly gateways: number;
  readonly retention?: Retention;
  readonly rules?: (org: OrgName) => readonly TopicRule[];
  /** The part of frames that is lost on the way, which links never do. @default 0 */
  readonly loss?: number;
  /** @default 5 to 40 */
  readonly delayMs?: readonly [number, number];
}

/** What one reader got. */
export interface Got {
  /** `ORG epoch sequence`, in the order they came. */
  readonly records: string[];
  readonly lost: {
    readonly stream: StreamId;
    readonly last: number;
    readonly records: number;
    readonly why: LossReason;
  }[];
  readonly muted: string[];
}

/** What went over links. */
export interface Traffic {
  posts: number;
  postBytes: number;
  frames: number;
  frameBytes: number;
}

const APPROX_STREAM_BYTES = 60;

const sizeOf = (frame: TopicsFrame): number =>
  20 + (frame.kind === 'have' ? frame.streams.length : 1) * APPROX_STREAM_BYTES;

export class SimGateway {
  readonly id: AuthorId;
  topics!: Topics;
  readonly alarms: FedgateError[] = [];
  /** Whether its clock is so far ahead, milliseconds. */
  skewMs = 0;
  readonly links = new Map<SimGateway, SimLink>();
  readonly readers: { readonly got: Got; reader: TopicReader; places: Map<string, number> }[] = [];
  readonly #world: World;
  readonly #standing = new Map<string, { epoch: bigint; next: number; previous: Buffer }>();
  /** Its own posts: what is on its disk. */
  #stored: Post[] = [];
  up = true;

  constructor(world: World, name: string) {
    this.#world = world;
    this.id = { org: name as OrgName, gateway: 'gw1' };
    this.#build();
  }

  get now(): number {
    return Math.floor(this.#world.time.nowMs) + this.skewMs;
  }

  #build(): void {
    const { rules = () => [OPEN_RULE], retention = PLENTY } = this.#world.options;
    this.topics = new Topics({
      federation: FEDERATION,
      own: this.id,
      grants: new TopicGrants(this.id.org, rules(this.id.org)),
      retention: () => retention,
      maxBytes: 1024 * 1024 * 1024,
      ownEpoch: topic => this.#standing.get(topic)?.epoch,
      host: {
        now: () => this.now,
        random: () => this.#world.random(),
        alarm: error => this.alarms.push(error),
        verify: ({ header, signature }: SignedHeader, author, certificate) => {
          if (this.#world.suspended.has(author.org))
            return { error: new FedgateError('ORG_INACTIVE', 'suspended'), forged: false };
          const holds =
            certificate.equals(certificateOf(author)) && signAs(author)(header).equals(Buffer.from(signature));
          return holds ? undefined : { error: new FedgateError('SIGNATURE_INVALID', 'forged'), forged: true };
        },
      },
    });
    const ticking = this.topics;
    const tick = (): void => {
      if (this.topics !== ticking || !this.up) return;
      this.topics.tick();
      this.#world.time.after(TICK_MS, tick);
    };
    this.#world.time.after(this.#world.random() * TICK_MS, tick);
  }

  /** Stops as by a crash: what it held of others is gone. `restored`: an old copy of its disk comes back, without what was written since. */
  restart({ restored = false } = {}): void {
    for (const link of [...this.links.values()]) link.cut();
    const readers = this.readers.map(each => ({ ...each, places: placesOf(each) }));
    if (restored) {
      this.#standing.clear();
      this.#stored = [];
    }
    this.#build();
    for (const post of this.#stored) this.topics.publish(post, true);
    for (const [i, { got, places }] of readers.entries())
      this.readers[i] = { got, places, reader: this.#reader({ from: 'new', after: places }, got, TOPIC) };
  }

  publish(texts: readonly string[], topic = TOPIC): Post {
    let standing = this.#standing.get(topic);
    if (!standing) {
      standing = { epoch: BigInt(this.now) * 1024n + BigInt(this.#world.count++), next: 1, previous: Buffer.alloc(0) };
      this.#standing.set(topic, standing);
    }
    const post = this.seal(texts, { epoch: standing.epoch, first: standing.next, previous: standing.previous, topic });
    standing.next = post.last + 1;
    standing.previous = post.headerSha256;
    this.#stored.push(post);
    this.topics.publish(post);
    this.#world.published.push(...numbersOf(post, post.first));
    return post;
  }

  /** Signs what an honest gateway never would, too. */
  seal(
    texts: readonly string[],
    {
      epoch = 1n,
      first = 1,
      previous = Buffer.alloc(0),
      topic = TOPIC,
      timeMs = this.now,
    }: {
      readonly epoch?: bigint;
      readonly first?: number;
      readonly previous?: Buffer;
      readonly topic?: string;
      readonly timeMs?: number;
    } = {},
  ): Post {
    const certificate = certificateOf(this.id);
    return sealPost(
      {
        federation: FEDERATION,
        stream: { topic, ...this.id, epoch },
        node: 'node',
        first,
        timeMs,
        expireMs: timeMs + 3_600_000,
        previousSha256: previous,
        certificate,
        certificateSha256: sha256(certificate),
      },
      block(texts),
      signAs(this.id),
    );
  }

  read(start: Partial<ReaderStart> = {}, topic = TOPIC): Got {
    const got: Got = { records: [], lost: [], muted: [] };
    const full = { from: start.from ?? 'earliest', after: start.after ?? new Map() } as const;
    this.readers.push({ got, places: new Map(), reader: this.#reader(full, got, topic) });
    return got;
  }

  #reader(start: ReaderStart, got: Got, topic: string): TopicReader {
    const out = {
      writable: true,
      post: (post: Post, from: number) => void got.records.push(...numbersOf(post, from)),
      lost: (stream: StreamId, last: number, records: number, why: LossReason) =>
        void got.lost.push({ stream, last, records, why }),
      muted: ({ org }: AuthorId) => void got.muted.push(org),
    };
    const reader = this.topics.read(topic, start, out);
    reader.open();
    return reader;
  }
}

function placesOf({ reader, places }: SimGateway['readers'][number]): Map<string, number> {
  const all = new Map(places);
  for (const { stream, sequence } of reader.places)
    all.set(`${stream.topic} ${stream.org}/${stream.gateway} ${stream.epoch}`, sequence);
  return all;
}

function numbersOf({ stream, last }: Post, from: number): string[] {
  const numbers: string[] = [];
  for (let n = from; n <= last; n++) numbers.push(`${stream.org} ${stream.epoch} ${n}`);
  return numbers;
}

/** Both directions of a link between two gateways. Frames come in order, or, when it is cut, never. */
export class SimLink {
  #up = true;
  readonly #ends: readonly [Neighbour, Neighbour];
  readonly #pair: readonly [SimGateway, SimGateway];
  readonly #world: World;

  constructor(world: World, a: SimGateway, b: SimGateway) {
    this.#world = world;
    this.#pair = [a, b];
    const ends: Neighbour[] = [];
    ends.push(
      a.topics.join(
        b.id.org,
        this.#way(() => ends[1] as Neighbour, b),
      ),
    );
    ends.push(
      b.topics.join(
        a.id.org,
        this.#way(() => ends[0] as Neighbour, a),
      ),
    );
    this.#ends = ends as unknown as [Neighbour, Neighbour];
    a.links.set(b, this);
    b.links.set(a, this);
  }

  get ends(): readonly [Neighbour, Neighbour] {
    return this.#ends;
  }

  cut(): void {
    if (!this.#up) return;
    this.#up = false;
    const [a, b] = this.#pair;
    a.topics.leave(this.#ends[0]);
    b.topics.leave(this.#ends[1]);
    a.links.delete(b);
    b.links.delete(a);
  }

  #way(end: () => Neighbour, to: SimGateway): NeighbourOut {
    const { time, random, options, traffic } = this.#world;
    const { loss = 0, delayMs: [least, most] = [5, 40] } = options;
    let lastMs = 0;
    const topics = to.topics;
    const arrive = (run: () => void): void => {
      if (random() < loss) return;
      lastMs = Math.max(lastMs, time.nowMs + least + random() * (most - least));
      time.after(lastMs - time.nowMs, () => {
        if (this.#up && topics === to.topics) run();
      });
    };
    return {
      writable: true,
      put(frame) {
        traffic.frames++;
        traffic.frameBytes += sizeOf(frame);
        arrive(() => topics.take(end(), frame));
      },
      post(post) {
        traffic.posts++;
        traffic.postBytes += post.frame.length;
        arrive(() => topics.takePost(end(), post));
      },
    };
  }
}

export class World {
  readonly time = new VirtualTime();
  readonly random: () => number;
  readonly gateways: SimGateway[];
  readonly options: WorldOptions;
  readonly traffic: Traffic = { posts: 0, postBytes: 0, frames: 0, frameBytes: 0 };
  readonly suspended = new Set<string>();
  /** All that honest gateways published. */
  readonly published: string[] = [];
  count = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = randomOf(options.seed);
    this.gateways = Array.from({ length: options.gateways }, (_, i) => new SimGateway(this, `ORG${i}`));
  }

  at(i: number): SimGateway {
    return this.gateways[i % this.gateways.length] as SimGateway;
  }

  link(a: number, b: number): void {
    const [from, to] = [this.at(a), this.at(b)];
    if (from !== to && !from.links.has(to)) new SimLink(this, from, to);
  }

  cut(a: number, b: number): void {
    this.at(a).links.get(this.at(b))?.cut();
  }

  line(): void {
    for (let i = 1; i < this.gateways.length; i++) this.link(i - 1, i);
  }

  /** A random graph in which everybody can be reached, with so many links more. */
  graph(more: number): void {
    for (let i = 1; i < this.gateways.length; i++) this.link(i, Math.floor(this.random() * i));
    for (let i = 0; i < more; i++) this.link(this.pick(), this.pick());
  }

  pick(): number {
    return Math.floor(this.random() * this.gateways.length);
  }

  get links(): number {
    return this.gateways.reduce((sum, { links }) => sum + links.size, 0) / 2;
  }
}
