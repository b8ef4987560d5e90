/** Counts events and tells their rate over the last seconds. */
export class RateCounter {
  readonly #buckets: number[];
  readonly #now: () => number;
  #second = 0;
  total = 0;

  constructor(seconds = 10, now: () => number = Date.now) {
    this.#buckets = new Array<number>(seconds).fill(0);
    this.#now = now;
  }

  add(count: number): void {
    this.#advance();
    this.total += count;
    const at = this.#second % this.#buckets.length;
    this.#buckets[at] = (this.#buckets[at] ?? 0) + count;
  }

  /** Events per second over the window, the second that is not over yet included. */
  get perSecond(): number {
    this.#advance();
    return this.#buckets.reduce((sum, count) => sum + count, 0) / this.#buckets.length;
  }

  #advance(): void {
    const second = Math.floor(this.#now() / 1000);
    if (second === this.#second) return;
    const passed = Math.min(second - this.#second, this.#buckets.length);
    for (let i = 1; i <= passed; i++) this.#buckets[(this.#second + i) % this.#buckets.length] = 0;
    this.#second = second;
  }
}
