import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { accusedBy, equivocated, judgeEvidence } from './evidence.js';
import type { TopicGrants } from './grants.js';
import { Holdings } from './holdings.js';
import { Intake, type Verdict } from './intake.js';
import { FORGERY_SCORE, MAX_NAMED, SWEEP_MS } from './limits.js';
import { Muted } from './muted.js';
import { Neighbour } from './neighbour.js';
import { Pursuits } from './pursuits.js';
import { type ReaderOut, type ReaderStart, TopicReader } from './reader.js';
import type { Stream } from './stream.js';
import type { Retention } from './topic.js';
import {
  type AuthorId,
  type Evidence,
  type NeighbourOut,
  type Post,
  type StreamState,
  streamKey,
  type TopicsFrame,
  type TopicsHost,
} from './types.js';

export interface TopicsOptions {
  readonly federation: string;
  /** The own gateway. */
  readonly own: AuthorId;
  readonly grants: TopicGrants;
  readonly retention: (topic: string) => Retention;
  /** The most bytes of all topics together. */
  readonly maxBytes: number;
  readonly host: TopicsHost;
  /** The epoch in which the own gateway writes on a topic now. Undefined: in none. */
  readonly ownEpoch: (topic: string) => bigint | undefined;
  /** Hears of own posts that are held no longer. */
  readonly onOwnDropped?: (post: Post) => void;
}

/** Why an author is muted. Without a time it is until the gateway starts again. */
interface Why {
  readonly error: FedgateError;
  readonly untilMs?: number;
  readonly evidence?: Evidence | undefined;
}

/**
 * The topics of one gateway: what it holds, and how it spreads.
 *
 * Knows no connection and no disk, and no clock but the one it is given: many of these can be run together in one process, in any time.
 */
export class Topics {
  readonly holdings: Holdings;
  readonly muted = new Muted();
  readonly neighbours = new Set<Neighbour>();
  readonly #options: TopicsOptions;
  readonly #pursuits: Pursuits;
  readonly #intake: Intake;
  #sweptMs: number;

  constructor(options: TopicsOptions) {
    const { host, own, retention, maxBytes, ownEpoch, onOwnDropped } = options;
    this.#options = options;
    this.#sweptMs = host.now();
    this.holdings = new Holdings({
      retention,
      maxBytes,
      now: () => host.now(),
      isKept: id => this.#isOwn(id) && ownEpoch(id.topic) === id.epoch,
      onDropped: posts => {
        for (const post of posts) if (this.#isOwn(post.stream)) onOwnDropped?.(post);
      },
      onForgotten: stream => this.#forgotten(stream),
    });
    this.#pursuits = new Pursuits({
      now: () => host.now(),
      random: () => host.random(),
      neighbours: () => this.neighbours,
      lastOf: key => this.holdings.stream(key)?.last ?? 0,
    });
    this.#intake = new Intake({
      ...options,
      holdings: this.holdings,
      muted: this.muted,
      mayJump: (post, from) => this.#pursuits.behindHole(post, from),
      isOwnNow: id => id.org === own.org && id.gateway === own.gateway && ownEpoch(id.topic) === id.epoch,
    });
  }

  /** A gateway with which topics are shared is linked: both tell what they have. */
  join(org: OrgName, out: NeighbourOut): Neighbour {
    const { host, grants } = this.#options;
    const neighbour = new Neighbour(org, out, {
      now: () => host.now(),
      given: to => this.#given(to),
      patternsFor: to => grants.patternsFor(to),
      neighbours: () => this.neighbours.size,
      onCut: (cut, error) => {
        host.alarm(error, { org: cut.org, topics: 'not heard for a while' });
        this.#pursuits.left(cut);
      },
    });
    this.neighbours.add(neighbour);
    neighbour.begin();
    return neighbour;
  }

  leave(neighbour: Neighbour): void {
    this.neighbours.delete(neighbour);
    this.#pursuits.left(neighbour);
  }

  /** An own post that is on stable storage: it is held and spreads. `quiet`: it was stored before the gateway started. */
  publish(post: Post, quiet = false): void {
    const last = quiet ? post.first - 1 : 0;
    const stream = this.holdings.open(post.stream, last);
    this.holdings.append(stream, post);
    this.#offer(stream, post);
  }

  /** Own records up to that number were held once: the stream goes on behind them. Throws LIMIT_REACHED. */
  resume(id: Post['stream'], last: number): void {
    this.holdings.open(id, last);
  }

  /** Reads a topic. Throws LIMIT_REACHED. */
  read(topic: string, start: ReaderStart, out: ReaderOut): TopicReader {
    return new TopicReader(this.holdings.topic(topic), start, out, () => this.#options.host.now());
  }

  /** Organisations that are linked, and with which a topic is shared. */
  sharers(topic: string): OrgName[] {
    return [...this.neighbours].map(({ org }) => org).filter(org => this.#options.grants.shares(org, topic));
  }

  /** The organisation from which a stream comes. */
  sourceOf(stream: Stream): OrgName | undefined {
    return this.#pursuits.sourceOf(stream.key)?.org;
  }

  /** Something about topics came from a neighbour. Throws what an honest one never sends: FIELD_INVALID, FRAME_TOO_LARGE. */
  take(from: Neighbour, frame: TopicsFrame): void {
    if (frame.kind === 'paused') return this.#paused(from, frame.error, frame.forMs);
    if (from.cut) return;
    if (frame.kind === 'have') this.#have(from, frame);
    else if (frame.kind === 'evidence') this.#evidence(from, frame.evidence);
    else {
      const stream = this.holdings.stream(streamKey(frame.stream));
      const { org, topic } = frame.stream;
      if (!stream || !this.#options.grants.gives(from.org, org, topic)) from.useless('it asks for what it cannot have');
      else if (frame.kind === 'want') from.want(stream, frame.from);
      else from.stop(stream, frame.refused);
    }
  }

  /** A post came from a neighbour. */
  takePost(from: Neighbour, post: Post): void {
    if (from.cut) return;
    const verdict = this.#intake.judge(post, from);
    if (verdict.kind === 'taken') this.#taken(verdict.stream, post, from);
    else this.#notTaken(verdict, post, from);
  }

  /** To be called every TICK_MS. */
  tick(): void {
    const now = this.#options.host.now();
    if (now - this.#sweptMs >= SWEEP_MS) {
      this.#sweptMs = now;
      this.holdings.sweep();
    }
    this.#pursuits.tick();
    for (const neighbour of this.neighbours) neighbour.tick();
  }

  #taken(stream: Stream, post: Post, from: Neighbour): void {
    this.holdings.append(stream, post);
    from.has(post);
    this.#pursuits.taken(post, from);
    this.#offer(stream, post);
  }

  #notTaken(verdict: Exclude<Verdict, { kind: 'taken' }>, post: Post, from: Neighbour): void {
    const { stream: id, key } = post;
    if (verdict.kind === 'duplicate') {
      from.has(post);
      from.useless('it sends what is here already');
      if (this.#isOwn(id) || this.#pursuits.duplicate(post, from)) this.#stop(from, post, false);
    } else if (verdict.kind === 'hole') {
      from.useless('it sends what does not follow');
    } else if (verdict.kind === 'convicted') {
      this.#mute(id, verdict);
    } else if (verdict.kind === 'flood') {
      this.#mute(id, verdict);
    } else if (verdict.kind === 'forged') {
      this.#options.host.alarm(verdict.error, { org: from.org, topic: id.topic, author: id.org });
      from.fault(FORGERY_SCORE, verdict.error);
    } else {
      if (verdict.alarm) this.#options.host.alarm(verdict.error, { org: from.org, topic: id.topic, author: id.org });
      from.useless('it sends what is not taken');
      if (verdict.passing) this.#pursuits.refused(id, key);
      this.#stop(from, post, !verdict.passing);
    }
  }

  #stop(from: Neighbour, { stream, key }: Post, refused: boolean): void {
    if (from.stopped.has(key)) return;
    if (from.stopped.size < 4 * MAX_NAMED) from.stopped.add(key);
    from.out.put({ kind: 'stop', stream, refused });
  }

  #have(from: Neighbour, frame: Extract<TopicsFrame, { kind: 'have' }>): void {
    if (frame.streams.length > MAX_NAMED) {
      throw new FedgateError('FRAME_TOO_LARGE', `more than ${MAX_NAMED} streams in a frame`, {
        metadata: { limit: 'streams of a frame' },
      });
    }
    from.heard(frame.takes, frame.complete);
    for (const state of frame.streams) this.#claimed(from, state);
  }

  #claimed(from: Neighbour, state: StreamState): void {
    const { stream: id } = state;
    const { grants, ownEpoch, host } = this.#options;
    if (!grants.takes(from.org, id.org, id.topic)) return from.useless('it has what is not taken');
    if (this.#isOwn(id) && ownEpoch(id.topic) === id.epoch) {
      from.claim(state, streamKey(id));
      return;
    }
    if (this.muted.get(id.topic, id, host.now())) return;
    const key = streamKey(id);
    const claim = from.claim(state, key);
    if (claim) this.#pursuits.claimed(from, key, claim);
  }

  #evidence(from: Neighbour, evidence: Evidence): void {
    const { federation, host, grants } = this.#options;
    const accused = accusedBy(evidence, federation);
    if (accused && this.muted.get(accused.topic, accused, host.now())?.untilMs === 0)
      return from.useless('it tells what is known');
    const found = judgeEvidence(evidence, federation, host);
    if (found === 'false') {
      from.fault(FORGERY_SCORE, new FedgateError('SIGNATURE_INVALID', 'evidence that proves nothing'));
    } else if (found !== 'unproven' && grants.shares(from.org, found.topic)) {
      this.#mute(found, { error: equivocated(found), evidence }, from);
    }
  }

  /** Takes nothing more of an author on a topic, and tells those who may not know why: all but who told it. */
  #mute({ topic: name, ...of }: AuthorId & { readonly topic: string }, why: Why, toldBy?: Neighbour): void {
    const { host, grants } = this.#options;
    const { error, untilMs = 0, evidence } = why;
    const known = this.muted.get(name, of, host.now());
    if (known && (known.untilMs === 0 || untilMs > 0)) return;
    const author = { org: of.org, gateway: of.gateway };
    this.muted.add({ topic: name, author, error, untilMs, evidence });
    host.alarm(error, { ...author, topic: name });
    const topic = this.holdings.topics.get(name);
    for (const listener of topic?.listeners ?? []) listener.muted(author, error);
    for (const stream of topic?.streamsOf(author) ?? []) this.#pursuits.forget(stream.key);
    if (!evidence) return;
    for (const neighbour of this.neighbours)
      if (neighbour !== toldBy && !neighbour.cut && grants.shares(neighbour.org, name))
        neighbour.out.put({ kind: 'evidence', evidence });
  }

  #paused(from: Neighbour, error: FedgateError, forMs: number): void {
    this.#options.host.alarm(error, { org: from.org, topics: 'it does not hear us for a while' });
    from.quiet(forMs);
    this.#pursuits.left(from);
  }

  #offer(stream: Stream, post: Post): void {
    const { grants } = this.#options;
    const { org, topic } = stream.id;
    for (const neighbour of this.neighbours) {
      if (grants.gives(neighbour.org, org, topic)) neighbour.offer(stream, post);
    }
  }

  *#given(to: OrgName): Generator<Stream> {
    for (const stream of this.holdings.streams.values()) {
      if (stream.last > 0 && this.#options.grants.gives(to, stream.id.org, stream.id.topic)) yield stream;
    }
  }

  #forgotten(stream: Stream): void {
    this.#pursuits.forget(stream.key);
    for (const neighbour of this.neighbours) neighbour.forget(stream);
  }

  #isOwn({ org, gateway }: AuthorId): boolean {
    const { own } = this.#options;
    return org === own.org && gateway === own.gateway;
  }
}
