/** Something that ends by itself at a time. */
export interface Due {
  /** By the monotonic clock, milliseconds. */
  readonly dueMs: number;
  /** Its place in the heap; -1: it is in none. For Deadlines alone. */
  heapAt: number;
  /** The time is over. It is out of the heap then. */
  expire(): void;
}

/** A timer never waits longer than this: what was put off is looked at again. */
const LONGEST_MS = 2 ** 30;

/**
 * Any number of deadlines with one timer: a binary heap whose entries know their place, so that what is answered in time, which is nearly
 * everything, leaves nothing behind.
 */
export class Deadlines {
  readonly #heap: Due[] = [];
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  /** `now`: the monotonic clock, milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get size(): number {
    return this.#heap.length;
  }

  now(): number {
    return this.#now();
  }

  add(due: Due): void {
    this.#place(due, this.#heap.length);
    this.#rise(due);
    if (due.heapAt === 0) this.#arm();
  }

  /** Nothing happens when it is not there. */
  remove(due: Due): void {
    const at = due.heapAt;
    if (at < 0) return;
    due.heapAt = -1;
    const last = this.#heap.pop();
    if (!last || last === due) return;
    this.#place(last, at);
    this.#rise(last);
    this.#sink(last);
  }

  /** Ends all whose time is over. The timer calls it. */
  expire(): void {
    for (let first = this.#heap[0]; first && first.dueMs <= this.#now(); first = this.#heap[0]) {
      this.remove(first);
      first.expire();
    }
    this.#arm();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerMs = Number.POSITIVE_INFINITY;
  }

  /** A timer that fires too early, because what it was for was removed, costs less than one that is set again with every removal. */
  #arm(): void {
    const first = this.#heap[0];
    if (!first) return;
    if (this.#timer && this.#timerMs <= first.dueMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = first.dueMs;
    const waitMs = Math.min(LONGEST_MS, Math.max(0, Math.ceil(first.dueMs - this.#now())));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.expire();
    }, waitMs);
  }

  #place(due: Due, at: number): void {
    this.#heap[at] = due;
    due.heapAt = at;
  }

  #rise(due: Due): void {
    for (let at = due.heapAt; at > 0; at = due.heapAt) {
      const parent = this.#heap[(at - 1) >> 1] as Due;
      if (parent.dueMs <= due.dueMs) return;
      this.#place(parent, at);
      this.#place(due, (at - 1) >> 1);
    }
  }

  #sink(due: Due): void {
    for (;;) {
      const at = due.heapAt;
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      const least = left && right && right.dueMs < left.dueMs ? right : left;
      if (!least || least.dueMs >= due.dueMs) return;
      const below = least.heapAt;
      this.#place(least, at);
      this.#place(due, below);
    }
  }
}
