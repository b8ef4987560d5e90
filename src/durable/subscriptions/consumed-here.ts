import { FedgateError } from '../../errors.js';

interface Waiter {
  readonly first: number;
  readonly last: number;
  readonly settle: (error: FedgateError | undefined) => void;
}

/** Who published in the own organisation and waits until that is consumed. */
export class ConsumedHere {
  readonly #waiters = new Set<Waiter>();
  readonly #isConsumed: (offset: number) => boolean;

  /** `isConsumed` knows what was consumed lately, by the offset of its first record. */
  constructor(isConsumed: (offset: number) => boolean) {
    this.#isConsumed = isConsumed;
  }

  /** Resolves when all of an entry was acknowledged. Rejects with DEAD_LETTERED, or the signal's reason. */
  wait(offset: number, count: number, signal: AbortSignal): Promise<void> {
    if (this.#isConsumed(offset)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        first: offset,
        last: offset + count - 1,
        settle: error => {
          this.#waiters.delete(waiter);
          signal.removeEventListener('abort', abort);
          if (error) reject(error);
          else resolve();
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  consumed(offset: number, count: number): void {
    for (const waiter of [...this.#waiters])
      if (waiter.first >= offset && waiter.last < offset + count) waiter.settle(undefined);
  }

  gaveUp(first: number, last: number, subscription: string, reason: string): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.last < first || waiter.first > last) continue;
      waiter.settle(new FedgateError('DEAD_LETTERED', reason, { metadata: { subscription } }));
    }
  }
}
