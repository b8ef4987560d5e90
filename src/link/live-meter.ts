const WINDOW_MS = 1_000;

/** How many bytes of live batches passed on a link within the last second, either way. */
export class LiveMeter {
  readonly #now: () => number;
  #windowMs = Number.NEGATIVE_INFINITY;
  #bytes = 0;
  #before = 0;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** `now`: the monotonic clock, milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(bytes: number): void {
    this.#roll();
    this.#bytes += bytes;
    this.#lastMs = this.#now();
  }

  /** Whether anything passed within the last second. */
  get active(): boolean {
    return this.#now() - this.#lastMs < WINDOW_MS;
  }

  /** The more of this second, so far, and the one before. */
  get bytesPerSecond(): number {
    this.#roll();
    return Math.max(this.#bytes, this.#before);
  }

  #roll(): void {
    const past = this.#now() - this.#windowMs;
    if (past < WINDOW_MS) return;
    this.#before = past < 2 * WINDOW_MS ? this.#bytes : 0;
    this.#bytes = 0;
    this.#windowMs = this.#now();
  }
}
