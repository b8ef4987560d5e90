import { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import { type Pattern, parsePattern } from '../messaging/address.js';
import { matches } from '../messaging/pattern.js';
import { TokenBucket } from '../token-bucket.js';
import {
  CUT_MS,
  CUT_SCORE,
  EXCESS_SCORE,
  MAX_CLAIMS,
  MAX_NAMED,
  MAX_TAKES,
  SYNC_MS,
  TELL_MS,
  TOLD_BY,
  USELESS,
  WANTS,
} from './limits.js';
import type { Stream } from './stream.js';
import type { NeighbourOut, Post, StreamId, StreamKey, StreamState } from './types.js';

/** What goes to a neighbour of one stream. */
interface Flow {
  /** Sent as it comes; told of, and sent when it is asked for; neither. */
  mode: 'push' | 'tell' | 'off';
  /** The number of the last record that was sent, or that it has. */
  cursor: number;
  /** How far it was told that we have it. */
  told: number;
}

/** How far a neighbour says it has a stream. Not believed: it only makes us ask. */
export interface Claim {
  readonly id: StreamId;
  first: number;
  last: number;
}

export interface NeighbourHost {
  now(): number;
  /** Streams that may be given to an organisation. */
  given(org: OrgName): Iterable<Stream>;
  /** Patterns that are taken from it. */
  patternsFor(org: OrgName): readonly string[];
  /** How many neighbours there are. */
  neighbours(): number;
  onCut(neighbour: Neighbour, error: FedgateError): void;
}

/** A linked gateway with which topics are shared: what it has, what goes to it, and how it behaves. */
export class Neighbour {
  readonly org: OrgName;
  readonly out: NeighbourOut;
  readonly claims = new Map<StreamKey, Claim>();
  /** Streams that it was told to send no more. */
  readonly stopped = new Set<StreamKey>();
  readonly #host: NeighbourHost;
  readonly #flows = new Map<StreamKey, Flow>();
  readonly #due = new Set<Stream>();
  readonly #untold = new Set<Stream>();
  readonly #useless: TokenBucket;
  readonly #wants: TokenBucket;
  #takes: readonly Pattern[] = [];
  #ready = false;
  #tellMs = 0;
  #syncMs = 0;
  #score = 0;
  #scoredMs: number;
  #cut: { readonly error: FedgateError; readonly untilMs: number } | undefined;
  #quietUntilMs = 0;

  constructor(org: OrgName, out: NeighbourOut, host: NeighbourHost) {
    this.org = org;
    this.out = out;
    this.#host = host;
    const now = host.now();
    this.#scoredMs = now;
    this.#useless = new TokenBucket(USELESS.burst, USELESS.perSecond, now);
    this.#wants = new TokenBucket(WANTS.burst, WANTS.perSecond, now);
  }

  /** Why and until when nothing of it is heard. Undefined: it is. */
  get cut(): { readonly error: FedgateError; readonly untilMs: number } | undefined {
    return this.#cut;
  }

  /** Tells it everything: first when it was linked. What it has by then is sent when it asks. */
  begin(): void {
    const streams = [...this.#host.given(this.org)];
    for (const stream of streams) {
      const flow = this.#flow(stream, 'tell');
      flow.told = stream.last;
    }
    this.#untold.clear();
    this.#syncMs = this.#host.now() + SYNC_MS;
    this.#tell(streams, true);
  }

  /** Takes what it says of itself. Throws FIELD_INVALID, FRAME_TOO_LARGE. */
  heard(takes: readonly string[], complete: boolean): void {
    if (takes.length > MAX_TAKES) throw tooMany('patterns');
    if (takes.length > 0) this.#takes = takes.map(text => parsePattern(text, 'takes'));
    if (complete) this.#ready = true;
  }

  /** Notes what it says it has. Undefined: it says too much. */
  claim({ stream: id, first, last }: StreamState, key: StreamKey): Claim | undefined {
    let claim = this.claims.get(key);
    if (!claim) {
      if (this.claims.size >= MAX_CLAIMS) {
        this.useless('it says that it has more streams than there may be');
        return undefined;
      }
      claim = { id, first, last };
      this.claims.set(key, claim);
    }
    claim.first = first;
    claim.last = last;
    return claim;
  }

  /** It sent a post, or we know otherwise that it has it. */
  has({ stream: id, key, first, last }: Post): void {
    const claim = this.claims.get(key);
    if (claim) claim.last = Math.max(claim.last, last);
    else if (this.claims.size < MAX_CLAIMS) this.claims.set(key, { id, first, last });
    const flow = this.#flows.get(key);
    if (flow) flow.cursor = Math.max(flow.cursor, last);
  }

  /** A post is here that may be given to it. */
  offer(stream: Stream, post: Post): void {
    // What it takes is not known before it has told everything.
    if (this.#cut || (this.#ready && !this.#isTaken(stream))) return;
    const flow = this.#flow(stream, this.#ready ? 'push' : 'tell', post.first - 1);
    if ((this.claims.get(stream.key)?.last ?? 0) >= post.last) flow.cursor = Math.max(flow.cursor, post.last);
    else if (flow.mode === 'push') this.#due.add(stream);
    else if (flow.mode === 'tell') this.#untold.add(stream);
    this.pump();
  }

  /** It asks for a stream, from a number on. */
  want(stream: Stream, from: number): void {
    if (this.#wants.take(this.#host.now()) > 0) return this.fault(EXCESS_SCORE, excess('it asks too often'));
    const flow = this.#flow(stream, 'push');
    flow.mode = 'push';
    flow.cursor = from - 1;
    this.#due.add(stream);
    this.pump();
  }

  /** It takes no more of a stream from us; or, `refused`, from anybody. */
  stop(stream: Stream, refused: boolean): void {
    const flow = this.#flow(stream, 'tell');
    flow.mode = refused ? 'off' : 'tell';
    this.#due.delete(stream);
    flow.told = Math.max(flow.told, flow.cursor);
    if (!refused && stream.last > flow.told) this.#untold.add(stream);
  }

  forget(stream: Stream): void {
    this.#flows.delete(stream.key);
    this.#due.delete(stream);
    this.#untold.delete(stream);
    this.stopped.delete(stream.key);
  }

  /** Sends what is due for as long as the lane takes it, a post of each stream in turn. */
  pump(): void {
    if (this.#isQuiet) return;
    for (const stream of this.#due) {
      if (!this.out.writable) return;
      const flow = this.#flows.get(stream.key);
      const post = flow && stream.after(flow.cursor);
      this.#due.delete(stream);
      if (!flow || !post) continue;
      flow.cursor = post.last;
      flow.told = Math.max(flow.told, post.last);
      // Behind the others: a set is walked on over what is added to it.
      if (stream.last > post.last) this.#due.add(stream);
      this.out.post(post);
    }
  }

  tick(): void {
    const now = this.#host.now();
    if (this.#cut && this.#cut.untilMs <= now) {
      this.#cut = undefined;
      this.#score = 0;
      this.begin();
    }
    if (this.#isQuiet || !this.out.writable) return;
    if (now >= this.#syncMs) this.begin();
    else if (this.#ready && this.#untold.size > 0 && now >= this.#tellMs) {
      // Who has many neighbours hears of it from many: each may take its time.
      this.#tellMs = now + TELL_MS * Math.max(1, this.#host.neighbours() / TOLD_BY);
      const behind = [...this.#untold].filter(stream => this.#isNews(stream));
      this.#untold.clear();
      if (behind.length > 0) this.#tell(behind, false);
    }
    this.pump();
  }

  /** It sent something that is of no use. An honest one does so now and then. */
  useless(what: string): void {
    if (this.#useless.take(this.#host.now()) > 0) this.fault(EXCESS_SCORE, excess(what));
  }

  /** Counts a fault. Who has too many is not heard for a while. */
  fault(points: number, error: FedgateError): void {
    const now = this.#host.now();
    this.#score = Math.max(0, this.#score - (now - this.#scoredMs) / 1000) + points;
    this.#scoredMs = now;
    if (this.#score < CUT_SCORE || this.#cut) return;
    this.#cut = { error, untilMs: now + CUT_MS };
    this.#reset();
    this.out.put({ kind: 'paused', error, forMs: CUT_MS });
    this.#host.onCut(this, error);
  }

  /** It does not hear us for a while. */
  quiet(forMs: number): void {
    this.#quietUntilMs = this.#host.now() + Math.min(forMs, CUT_MS);
    this.#reset();
    this.#syncMs = this.#quietUntilMs;
  }

  get #isQuiet(): boolean {
    return this.#cut !== undefined || this.#quietUntilMs > this.#host.now();
  }

  #isTaken({ id }: Stream): boolean {
    return this.#takes.some(pattern => matches(pattern, id.topic));
  }

  #isNews(stream: Stream): boolean {
    if (!this.#isTaken(stream)) return false;
    const flow = this.#flows.get(stream.key);
    return flow?.mode === 'tell' && stream.last > flow.told && stream.last > (this.claims.get(stream.key)?.last ?? 0);
  }

  #reset(): void {
    this.claims.clear();
    this.stopped.clear();
    this.#flows.clear();
    this.#due.clear();
    this.#untold.clear();
  }

  #flow(stream: Stream, mode: Flow['mode'], cursor = 0): Flow {
    let flow = this.#flows.get(stream.key);
    if (!flow) {
      flow = { mode, cursor, told: 0 };
      this.#flows.set(stream.key, flow);
    }
    return flow;
  }

  #tell(streams: readonly Stream[], all: boolean): void {
    const takes = all ? this.#host.patternsFor(this.org) : [];
    for (let at = 0; at === 0 || at < streams.length; at += MAX_NAMED) {
      const part = streams.slice(at, at + MAX_NAMED).map(stream => this.#told(stream));
      const complete = all && at + MAX_NAMED >= streams.length;
      this.out.put({ kind: 'have', streams: part, complete, takes: at === 0 ? takes : [] });
    }
  }

  #told(stream: Stream): StreamState {
    const flow = this.#flow(stream, 'tell');
    flow.told = Math.max(flow.told, stream.last);
    return { stream: stream.id, first: stream.first, last: stream.last };
  }
}

const tooMany = (what: string): FedgateError =>
  new FedgateError('FRAME_TOO_LARGE', `too many ${what} in a frame about topics`, { metadata: { limit: what } });

const excess = (what: string): FedgateError =>
  new FedgateError('LIMIT_REACHED', `too much of no use: ${what}`, { metadata: { limit: 'useless frames' } });
