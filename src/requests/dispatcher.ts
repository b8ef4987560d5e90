import { FedgateError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import { matches, PatternIndex } from '../messaging/pattern.js';
import type { Deadlines } from './deadlines.js';
import { Job, type JobList, type JobTerms, Line } from './job.js';
import { full } from './pending.js';
import { leastBusy, type Responder } from './responder.js';
import {
  type Answer,
  type CancelCause,
  MAX_ATTEMPTS,
  MAX_PINNED,
  MAX_QUEUED_PER_CHANNEL,
  type Question,
  type Said,
} from './types.js';

const CACHED_CHANNELS = 10_000;

/** Hears that a node answers on a pattern from now on, +1, or no more, -1, on one of its streams. */
export type RoleListener = (node: string, pattern: string, step: 1 | -1) => void;

/**
 * Gives the requests for the own organisation to its responders.
 *
 * A request goes to the least busy responder of its channel that has room, else it waits in the channel's line. It ends once: with what
 * that responder said, before the deadline, or without an answer; what is one-way, with the one that got it. Whoever has it keeps its place
 * taken until it says something, so that one that never does is given no more than its capacity.
 */
export class Dispatcher {
  readonly #deadlines: Deadlines;
  readonly #org: string;
  readonly #index = new PatternIndex<Responder>();
  readonly #servers = new Map<string, readonly Responder[]>();
  readonly #lines = new Map<string, Line>();
  readonly #responders = new Set<Responder>();
  readonly #roleListeners: RoleListener[] = [];
  readonly #roomListeners: ((responder: Responder) => void)[] = [];
  #turn = 0;

  constructor(org: string, deadlines: Deadlines) {
    this.#org = org;
    this.#deadlines = deadlines;
  }

  get responders(): ReadonlySet<Responder> {
    return this.#responders;
  }

  /** How many requests wait for a responder with room. */
  get queued(): number {
    return [...this.#lines.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Those that serve a channel now. */
  serving(channel: string): readonly Responder[] {
    const known = this.#servers.get(channel);
    if (known) return known;
    const found = [...this.#index.match(channel)];
    if (this.#servers.size >= CACHED_CHANNELS) this.#servers.clear();
    this.#servers.set(channel, found);
    return found;
  }

  /** Begins a request. It may be settled before this returns. */
  ask(question: Question, terms: JobTerms): Job {
    const job = this.#job(question, terms);
    this.#deadlines.add(job);
    this.#place(job, false);
    return job;
  }

  /** Asks one responder and nobody else. Its deadline is the caller's to watch. */
  askOne(responder: Responder, question: Question, terms: JobTerms): Job {
    const job = this.#job(question, terms);
    if (responder.pinned.length === 0 && responder.hasRoomFor(job.bytes)) this.#give(responder, job);
    else if (responder.pinned.length < MAX_PINNED) responder.pinned.push(job);
    else this.#end(job, failed(job, full('surveys queued', `too many surveys wait for ${responder.node}`)));
    return job;
  }

  /** Nobody waits for it any more. It is settled without being told. */
  cancel(job: Job, cause: CancelCause): void {
    if (!job.done) this.#abandon(job, cause);
  }

  /** Takes what a responder said; undefined: that it is done with what is one-way. Throws FRAME_UNEXPECTED. */
  answered(responder: Responder, id: number, said: Said | undefined): void {
    const job = responder.take(id, said === undefined);
    const { node } = responder;
    if (job.done || !said) job.terms.late?.(said, node);
    else if (this.#deadlines.now() >= job.dueMs) {
      this.#end(job, failed(job, this.#late(job)));
      job.terms.late?.(said, node);
    } else this.#end(job, answeredBy(node, job.attempts, said));
    this.#serve(responder);
  }

  /** By the clock of its deadlines, milliseconds. */
  now(): number {
    return this.#deadlines.now();
  }

  /** Hears of each responder that has room, and nothing waits for it. */
  onRoom(listener: (responder: Responder) => void): void {
    this.#roomListeners.push(listener);
  }

  /** How many requests of a size would be out at once if they were asked on a channel now; 0 while others wait there. */
  room(channel: string, bytes: number): number {
    if (this.#lines.has(channel)) return 0;
    let room = 0;
    for (const responder of this.serving(channel))
      if (responder.hasRoomFor(bytes)) room += responder.capacity - responder.out.size;
    return room;
  }

  onRole(listener: RoleListener): void {
    this.#roleListeners.push(listener);
  }

  add(responder: Responder): void {
    this.#responders.add(responder);
  }

  /** From now on it gets what the pattern matches. */
  enable(responder: Responder, pattern: Pattern): void {
    if (responder.patterns.has(pattern.text)) return;
    responder.patterns.set(pattern.text, pattern);
    this.#index.add(pattern, responder);
    this.#servers.clear();
    for (const line of this.#lines.values()) if (matches(pattern, line.channel)) responder.waiting.add(line);
    this.#serve(responder);
    for (const listener of this.#roleListeners) listener(responder.node, pattern.text, 1);
  }

  /** From now on it gets nothing that only this pattern matches. What it has it may answer. */
  disable(responder: Responder, pattern: Pattern): void {
    const known = responder.patterns.get(pattern.text);
    if (!known) return;
    responder.patterns.delete(pattern.text);
    this.#index.remove(known, responder);
    this.#servers.clear();
    for (const listener of this.#roleListeners) listener(responder.node, pattern.text, -1);
    for (const line of responder.waiting) {
      if ([...responder.patterns.values()].some(other => matches(other, line.channel))) continue;
      responder.waiting.delete(line);
      this.#refuseUnserved(line);
    }
  }

  /** It is gone: what it has goes to others, where that is allowed. */
  remove(responder: Responder): void {
    if (!this.#responders.delete(responder)) return;
    for (const pattern of [...responder.patterns.values()]) this.disable(responder, pattern);
    const out = [...responder.out.values()];
    responder.out.clear();
    // In front of what waits, and in the order in which they were given.
    for (const job of out.reverse()) this.#lost(job, responder);
    for (let job = responder.pinned.peek(); job; job = responder.pinned.peek()) {
      responder.pinned.remove(job);
      this.#end(job, failed(job, gone(job, `${responder.node} went away before it was asked`)));
    }
  }

  #job(question: Question, terms: JobTerms): Job {
    return new Job(question, terms, job => {
      if (job.done) return;
      const error = this.#late(job);
      this.#abandon(job, 'deadline');
      job.terms.settle(failed(job, error));
    });
  }

  #place(job: Job, front: boolean): void {
    const servers = this.serving(job.channel);
    if (servers.length === 0) return this.#end(job, failed(job, this.#nobody(job)));
    const line = this.#lines.get(job.channel);
    const best = line ? undefined : leastBusy(servers, job.bytes);
    if (best) return this.#give(best, job);
    if (!front && (line?.length ?? 0) >= MAX_QUEUED_PER_CHANNEL) {
      const error = full('requests queued', `too many requests wait for a responder of ${job.channel}`);
      return this.#end(job, failed(job, error));
    }
    this.#queue(line ?? this.#openLine(job.channel, servers), job, front);
  }

  #give(responder: Responder, job: Job): void {
    responder.give(job, ++this.#turn);
    if (!job.oneWay) return;
    const { attempts } = job;
    this.#end(job, { kind: 'handed', node: responder.node, attempts, duplicate: false });
  }

  #queue(line: Line, job: Job, front: boolean): void {
    if (!front) return line.push(job);
    line.unshift(job);
    this.#offerFirst(line);
  }

  /** What stands in front now may be small enough for somebody who had no room for what stood there before. */
  #offerFirst(line: JobList | undefined): void {
    const first = line?.peek();
    const best = first && !first.survey ? leastBusy(this.serving(first.channel), first.bytes) : undefined;
    if (best) this.#serve(best);
  }

  #openLine(channel: string, servers: readonly Responder[]): Line {
    const line = new Line(channel);
    this.#lines.set(channel, line);
    for (const responder of servers) responder.waiting.add(line);
    return line;
  }

  #closeIfEmpty(line: Line): void {
    if (line.length > 0 || this.#lines.get(line.channel) !== line) return;
    this.#lines.delete(line.channel);
    for (const responder of this.serving(line.channel)) responder.waiting.delete(line);
  }

  /** Gives a responder what waits, as far as it has room: surveys first, then its channels in turn. */
  #serve(responder: Responder): void {
    for (let job = responder.pinned.peek(); job && responder.hasRoomFor(job.bytes); job = responder.pinned.peek()) {
      responder.pinned.remove(job);
      this.#give(responder, job);
    }
    // A line that is served goes to the end of the set, and so comes again in the same loop.
    for (const line of responder.waiting) {
      if (responder.out.size >= responder.capacity) return;
      const job = line.peek();
      if (!job || !responder.hasRoomFor(job.bytes)) continue;
      line.remove(job);
      responder.waiting.delete(line);
      if (line.length > 0) responder.waiting.add(line);
      else this.#closeIfEmpty(line);
      this.#give(responder, job);
    }
    if (responder.out.size < responder.capacity) for (const listener of this.#roomListeners) listener(responder);
  }

  /** A responder went away with it. */
  #lost(job: Job, { node }: Responder): void {
    job.responder = undefined;
    if (job.done) job.terms.late?.(undefined, node);
    else if (job.survey || job.once || job.attempts >= MAX_ATTEMPTS)
      this.#end(job, failed(job, gone(job, `${node} went away before it had answered`)));
    else this.#place(job, true);
  }

  #refuseUnserved(line: Line): void {
    if (this.serving(line.channel).length > 0) return;
    this.#lines.delete(line.channel);
    for (let job = line.peek(); job; job = line.peek()) {
      line.remove(job);
      this.#end(job, failed(job, this.#nobody(job)));
    }
  }

  #end(job: Job, answer: Answer): void {
    this.#finish(job);
    job.terms.settle(answer);
  }

  /** Ends it without a word to whoever asked; whoever has it is told, and keeps its place taken until it says something. */
  #abandon(job: Job, cause: CancelCause): void {
    const { line, responder, id } = job;
    this.#finish(job);
    const wasFirst = line?.peek() === job;
    line?.remove(job);
    if (line instanceof Line) this.#closeIfEmpty(line);
    if (wasFirst) this.#offerFirst(line);
    responder?.sink.cancel(id, cause);
  }

  #finish(job: Job): void {
    job.done = true;
    job.record = undefined;
    this.#deadlines.remove(job);
  }

  /** Never asked by anybody: `NO_RESPONDERS` promises that it was not carried out. */
  #nobody(job: Job): FedgateError {
    if (job.attempts > 0) return gone(job, 'whoever got the request went away, and nobody else answers');
    return new FedgateError('NO_RESPONDERS', `nobody of ${this.#org} answers on ${job.channel} at the moment`, {
      metadata: { org: this.#org },
    });
  }

  #late(job: Job): FedgateError {
    const what = job.attempts === 0 ? 'no responder had room' : 'no answer came';
    return new FedgateError('DEADLINE_EXCEEDED', `${what} in time on ${job.channel} of ${this.#org}`, {
      metadata: { org: this.#org, attempts: String(job.attempts) },
    });
  }
}

const answeredBy = (node: string, attempts: number, said: Said): Answer =>
  said.kind === 'reply'
    ? { kind: 'reply', record: said.record, node, attempts, duplicate: false }
    : { kind: 'error', error: said.error, node, attempts, duplicate: false };

const failed = ({ attempts }: Job, error: FedgateError): Answer => ({ kind: 'failed', error, attempts });

const gone = ({ attempts }: Job, message: string): FedgateError =>
  new FedgateError('RESPONDER_GONE', message, { metadata: { attempts: String(attempts) } });
