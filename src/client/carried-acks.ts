import { describe, FedgateError } from '../errors.js';
import type { Deferred } from './deferred.js';

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Records that the program acknowledged on a stream that broke before the gateway had said that this is settled. */
export interface UnsettledAck {
  readonly ranges: readonly Range[];
  readonly done: Deferred<void>;
}

interface Carried {
  /** What nothing was heard of yet. */
  ranges: Range[];
  /** Acknowledgements of parts that came again, which are under way. */
  pending: number;
  readonly done: Deferred<void>;
  readonly giveUp: NodeJS.Timeout;
}

/** How long to wait for a sign of what became of an acknowledgement, milliseconds. In a group the records may have gone to others. */
const GIVE_UP_MS = 60_000;

/**
 * Acknowledgements whose fate is open when a stream breaks.
 *
 * Whatever of them did not count is delivered again on the next stream. The program is done with it and does not get it a second time: it
 * is acknowledged again, and the promise that the program has goes on to stand for that.
 */
export class CarriedAcks {
  readonly #carried = new Set<Carried>();

  get size(): number {
    return this.#carried.size;
  }

  add({ ranges, done }: UnsettledAck, why: string): void {
    const carried: Carried = {
      ranges: [...ranges],
      pending: 0,
      done,
      giveUp: setTimeout(() => this.#drop(carried, why), GIVE_UP_MS),
    };
    carried.giveUp.unref();
    this.#carried.add(carried);
  }

  /** The new stream begins here: whatever is before has counted. */
  settledBelow(offset: number): void {
    for (const carried of this.#carried) {
      carried.ranges = carried.ranges.flatMap(range => outside(range, 0, offset - 1));
      this.#check(carried);
    }
  }

  /** Which of the delivered records the program is done with, in order. They are acknowledged again. */
  take(first: number, last: number, acknowledge: (first: number, last: number) => Promise<void>): Range[] {
    const found: Range[] = [];
    for (const carried of this.#carried) {
      for (const range of carried.ranges) {
        const part = { first: Math.max(range.first, first), last: Math.min(range.last, last) };
        if (part.first > part.last) continue;
        found.push(part);
        this.#again(carried, part, acknowledge);
      }
      carried.ranges = carried.ranges.flatMap(range => outside(range, first, last));
    }
    return found.sort((a, b) => a.first - b.first);
  }

  /** Resolves when nothing is open any more. */
  async all(): Promise<void> {
    await Promise.allSettled([...this.#carried].map(({ done }) => done.promise));
  }

  fail(why: string): void {
    for (const carried of this.#carried) this.#drop(carried, why);
  }

  /** Should this stream break too, the new acknowledgement is carried on, and its promise with it. */
  #again(carried: Carried, { first, last }: Range, acknowledge: (first: number, last: number) => Promise<void>): void {
    carried.pending++;
    acknowledge(first, last).then(
      () => {
        carried.pending--;
        this.#check(carried);
      },
      error => this.#drop(carried, describe(error)),
    );
  }

  #check(carried: Carried): void {
    if (carried.ranges.length > 0 || carried.pending > 0) return;
    this.#carried.delete(carried);
    clearTimeout(carried.giveUp);
    carried.done.resolve();
  }

  #drop(carried: Carried, why: string): void {
    this.#carried.delete(carried);
    clearTimeout(carried.giveUp);
    carried.done.reject(unknownAck(why));
  }
}

/** What of a range is not within another. */
function outside(range: Range, first: number, last: number): Range[] {
  if (last < range.first || first > range.last) return [range];
  const parts: Range[] = [];
  if (range.first < first) parts.push({ first: range.first, last: first - 1 });
  if (range.last > last) parts.push({ first: last + 1, last: range.last });
  return parts;
}

export const unknownAck = (why: string): FedgateError =>
  new FedgateError(
    'OUTCOME_UNKNOWN',
    `the stream ended before the acknowledgement was settled (${why}); what did not count is delivered again`,
  );
