import { FedgateError } from '../errors.js';
import type { Pattern } from '../messaging/address.js';
import { type Job, JobList, type Line } from './job.js';
import { type CancelCause, MAX_OUT_BYTES } from './types.js';

/** Where a responder is told what to do. */
export interface ResponderSink {
  request(job: Job): void;
  cancel(id: number, cause: CancelCause): void;
}

/** One stream of a node on which it answers: what it serves, how much it takes, and what is out to it. */
export class Responder {
  readonly node: string;
  readonly capacity: number;
  readonly sink: ResponderSink;
  readonly patterns = new Map<string, Pattern>();
  readonly out = new Map<number, Job>();
  /** Lines of channels that it serves. */
  readonly waiting = new Set<Line>();
  /** Surveys that wait for it to have room. */
  readonly pinned = new JobList();
  outBytes = 0;
  /** Rises with every request that is given to anybody: the lower, the longer ago it was its turn. */
  lastTurn = 0;
  #lastId = 0;

  constructor(node: string, capacity: number, sink: ResponderSink) {
    this.node = node;
    this.capacity = capacity;
    this.sink = sink;
  }

  /** How busy it is, from 0 to 1. */
  get load(): number {
    return this.out.size / this.capacity;
  }

  hasRoomFor(bytes: number): boolean {
    if (this.out.size === 0) return true;
    return this.out.size < this.capacity && this.outBytes + bytes <= MAX_OUT_BYTES;
  }

  give(job: Job, turn: number): void {
    this.lastTurn = turn;
    job.id = ++this.#lastId;
    job.responder = this;
    job.attempts++;
    this.out.set(job.id, job);
    this.outBytes += job.bytes;
    this.sink.request(job);
  }

  /** Takes a job back that is answered, or that is one-way and done. Throws FRAME_UNEXPECTED: it is not out, or needs an answer. */
  take(id: number, done = false): Job {
    const job = this.out.get(id);
    if (!job) {
      const what = id > this.#lastId || id < 1 ? 'was never asked' : 'was answered already';
      throw new FedgateError('FRAME_UNEXPECTED', `request_id: request ${id} ${what} on this stream`);
    }
    if (done && !job.oneWay) throw new FedgateError('FRAME_UNEXPECTED', `request_id: request ${id} needs an answer`);
    this.out.delete(id);
    this.outBytes -= job.bytes;
    return job;
  }
}

/** The one that is the least busy; of several, the one that was given nothing for the longest. */
export function leastBusy(responders: readonly Responder[], bytes: number): Responder | undefined {
  let best: Responder | undefined;
  for (const responder of responders) {
    if (!responder.hasRoomFor(bytes)) continue;
    if (!best || isLessBusy(responder, best)) best = responder;
  }
  return best;
}

const isLessBusy = (a: Responder, b: Responder): boolean =>
  a.load === b.load ? a.lastTurn < b.lastTurn : a.load < b.load;
