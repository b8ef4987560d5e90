import { FedgateError } from '../../errors.js';

/** Runs what changes the book one after the other: each sees what those before it made. */
export class OneByOne {
  readonly #stopped = new AbortController();
  #last: Promise<unknown> = Promise.resolve();

  /** Aborted once nothing begins any more. */
  get stopped(): AbortSignal {
    return this.#stopped.signal;
  }

  /** Rejects with DRAINING once it was stopped. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const outcome = this.#last.then(() => {
      if (this.stopped.aborted) throw draining();
      return work();
    });
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  /** Lets nothing begin any more. Resolves when what is under way is done. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#last;
  }

  /** Resolves when all that was handed in so far is done, and with whether that was all. */
  async idle(): Promise<boolean> {
    const last = this.#last;
    await last;
    return last === this.#last;
  }
}

export const draining = (): FedgateError => new FedgateError('DRAINING', 'the gateway is about to stop');
