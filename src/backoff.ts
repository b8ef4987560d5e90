export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor: number;
  /** A number in [0, 1). */
  readonly random: () => number;
}

/**
 * Waits that grow to a cap, each drawn between half of its length and the whole, so that many that lost the same peer do not all come
 * back in the same moment.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  #attempts = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** The next wait, milliseconds. */
  next(): number {
    const { firstMs, maxMs, factor, random } = this.#options;
    const full = Math.min(maxMs, firstMs * factor ** this.#attempts);
    this.#attempts++;
    return full * (0.5 + random() / 2);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
