/** The longest that a timer of Node can wait. */
const MAX_WAIT_MS = 2 ** 31 - 1;

/** One timer that rings at the earliest of the times that were asked for. */
export class Timer {
  readonly #ticks: () => number;
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;
  #atMs = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(ticks: () => number, ring: () => void) {
    this.#ticks = ticks;
    this.#ring = ring;
  }

  wake(atMs: number): void {
    if (this.#stopped || atMs >= this.#atMs) return;
    clearTimeout(this.#timer);
    this.#atMs = atMs;
    // A timer may ring a moment early by the clock that is asked: one millisecond more saves a second round.
    const waitMs = Math.min(MAX_WAIT_MS, Math.max(0, atMs - this.#ticks()) + 1);
    this.#timer = setTimeout(() => {
      this.#atMs = Number.POSITIVE_INFINITY;
      this.#ring();
    }, waitMs);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
