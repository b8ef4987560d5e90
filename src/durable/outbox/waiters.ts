import { FedgateError } from '../../errors.js';
import { formatPosition } from '../position.js';
import type { StreamPosition } from '../types.js';

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

/** Calls that may wait for one organisation at a time: ~300 bytes each. */
const MAX_WAITERS = 100_000;

/** Calls that wait for something to become of batches. */
export class Waiters {
  readonly #waiting = new Map<string, Set<Waiter>>();
  #count = 0;

  /** Whether anybody waits for one of the batches. */
  get any(): boolean {
    return this.#count > 0;
  }

  /** Rejects with what the position was rejected with, LIMIT_REACHED, or the reason of the signal. */
  wait(position: StreamPosition, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#count >= MAX_WAITERS) {
      return Promise.reject(
        new FedgateError('LIMIT_REACHED', 'too many calls wait for an answer of that organisation', {
          metadata: { limit: 'outbox waiters' },
          retryAfterMs: 1000,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const name = formatPosition(position);
      const abort = (): void => {
        this.#remove(name, waiter);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        resolve: () => {
          signal.removeEventListener('abort', abort);
          resolve();
        },
        reject: error => {
          signal.removeEventListener('abort', abort);
          reject(error);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      const set = this.#waiting.get(name);
      if (set) set.add(waiter);
      else this.#waiting.set(name, new Set([waiter]));
      this.#count++;
    });
  }

  resolve(position: StreamPosition): void {
    for (const waiter of this.#take(formatPosition(position))) waiter.resolve();
  }

  reject(position: StreamPosition, error: unknown): void {
    for (const waiter of this.#take(formatPosition(position))) waiter.reject(error);
  }

  rejectAll(error: unknown): void {
    for (const name of [...this.#waiting.keys()]) for (const waiter of this.#take(name)) waiter.reject(error);
  }

  #take(name: string): Iterable<Waiter> {
    const set = this.#waiting.get(name);
    if (!set) return [];
    this.#waiting.delete(name);
    this.#count -= set.size;
    return set;
  }

  #remove(name: string, waiter: Waiter): void {
    const set = this.#waiting.get(name);
    if (!set?.delete(waiter)) return;
    this.#count--;
    if (set.size === 0) this.#waiting.delete(name);
  }
}
