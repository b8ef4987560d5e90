import { FedgateError } from '../errors.js';

/** Requests that a gateway has pending, of its own nodes to others and of all to its own. ~1 KB each beside their content. */
export const MAX_PENDING = 100_000;
/** The same of one node of the own organisation, or of one other organisation. */
export const MAX_PENDING_PER_CALLER = 25_000;
/** The bytes of all of them. */
export const MAX_PENDING_BYTES = 256 * 1024 * 1024;

/** What is pending, counted, so that it does not grow without bound. */
export class Pending {
  readonly #callers = new Map<string, number>();
  #count = 0;
  #bytes = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes one in; `leave` is to be called once with the same. Throws LIMIT_REACHED. */
  enter(caller: string, bytes: number): void {
    const own = this.#callers.get(caller) ?? 0;
    if (this.#count >= MAX_PENDING) throw full('requests pending', `${this.#count} requests are pending`);
    if (own >= MAX_PENDING_PER_CALLER)
      throw full('requests pending per caller', `${own} requests of ${caller} are pending`);
    if (this.#bytes + bytes > MAX_PENDING_BYTES)
      throw full('bytes pending', `requests of ${this.#bytes} bytes are pending`);
    this.#callers.set(caller, own + 1);
    this.#count++;
    this.#bytes += bytes;
  }

  leave(caller: string, bytes: number): void {
    const own = (this.#callers.get(caller) ?? 1) - 1;
    if (own > 0) this.#callers.set(caller, own);
    else this.#callers.delete(caller);
    this.#count--;
    this.#bytes -= bytes;
  }
}

export const full = (limit: string, message: string): FedgateError =>
  new FedgateError('LIMIT_REACHED', message, { retryAfterMs: 500, metadata: { limit } });
