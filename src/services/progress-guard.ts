import { FedgateError } from '../errors.js';

export interface ProgressRule {
  /** How long a caller may be waited for, milliseconds. */
  readonly stallMs: number;
  /** Bytes that have to move in that time. */
  readonly leastBytes: number;
}

/** Part of the time that has to have gone by in waiting for the caller: what the own disk takes is not its fault. */
const WAITED_SHARE = 0.9;

/** Ends a transfer whose other side does not move, or hardly. */
export class ProgressGuard {
  readonly #rule: ProgressRule;
  readonly #stalled = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;
  #waitedMs = 0;
  #waitingSince: number | undefined;

  constructor(rule: ProgressRule) {
    this.#rule = rule;
    this.#timer = setInterval(() => this.#look(), rule.stallMs).unref();
  }

  /** Fires with TRANSFER_STALLED. */
  get stalled(): AbortSignal {
    return this.#stalled.signal;
  }

  /** Counts the time until a promise settles as waiting for the other side. */
  async waiting<T>(promise: Promise<T>): Promise<T> {
    this.#waitingSince = performance.now();
    try {
      return await promise;
    } finally {
      this.#waitedMs += performance.now() - this.#waitingSince;
      this.#waitingSince = undefined;
    }
  }

  moved(bytes: number): void {
    this.#bytes += bytes;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { stallMs, leastBytes } = this.#rule;
    const now = performance.now();
    const waitedMs = this.#waitedMs + (this.#waitingSince === undefined ? 0 : now - this.#waitingSince);
    if (waitedMs >= stallMs * WAITED_SHARE && this.#bytes < leastBytes) {
      const message = `fewer than ${leastBytes} bytes moved in ${stallMs / 1_000} s`;
      this.#stalled.abort(new FedgateError('TRANSFER_STALLED', message));
    }
    this.#bytes = 0;
    this.#waitedMs = 0;
    if (this.#waitingSince !== undefined) this.#waitingSince = now;
  }
}
