import { setTimeout as delay } from 'node:timers/promises';
import { FedgateError } from '../../errors.js';
import { Fifo } from '../../fifo.js';
import { Change, type Store } from '../../store/store.js';
import { DISK_RETRY_MS } from './terms.js';

/** Puts what it does into a change; what it returns is to be done once that is committed. */
export type Fill = (change: Change) => Promise<() => void> | (() => void);

interface Step {
  readonly key: string;
  readonly fill: Fill;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Steps that share one commit. */
const STEPS_A_COMMIT = 64;

/**
 * What changes stored requests, one step after the other: memory follows what is committed. Steps about different requests share a commit; one about a
 * request sees what the one before it made.
 */
export class Steps {
  readonly #store: Store;
  readonly #onFailure: (error: unknown) => void;
  readonly #queue = new Fifo<Step>();
  readonly #last = new WeakMap<Change, ((change: Change) => void)[]>();
  readonly #stopped = new AbortController();
  #work: Promise<void> | undefined;
  #running = false;

  constructor(store: Store, onFailure: (error: unknown) => void) {
    this.#store = store;
    this.#onFailure = onFailure;
  }

  get stopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Rejects with what `fill` throws, with STORE_*, or with DRAINING. */
  run(key: string, fill: Fill): Promise<void> {
    if (this.stopped) return Promise.reject(draining());
    return new Promise((done, failed) => {
      this.#queue.push({ key, fill, done, failed });
      if (!this.#running) this.#work = this.#run();
    });
  }

  /** The same for what nobody waits for: what the disk refuses is tried again until the gateway stops. */
  async surely(key: string, fill: Fill): Promise<void> {
    while (!this.stopped) {
      try {
        return await this.run(key, fill);
      } catch (error) {
        if (this.stopped) return;
        this.#onFailure(error);
        await delay(DISK_RETRY_MS, undefined, { signal: this.#stopped.signal, ref: false }).catch(() => undefined);
      }
    }
  }

  /**
   * Puts something into the change of a step at the last moment: who looks for it as soon as this turn of the loop is over looks behind the commit, and not
   * before a commit that still waits for other steps.
   */
  last(change: Change, put: (change: Change) => void): void {
    this.#last.set(change, [...(this.#last.get(change) ?? []), put]);
  }

  /** Nothing begins any more; resolves once all that was begun is done. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#work;
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Whatever else is asked for in this turn of the loop goes along.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#commitSome();
    this.#running = false;
  }

  async #commitSome(): Promise<void> {
    const change = new Change();
    const last: ((change: Change) => void)[] = [];
    const filled = new Map<string, { readonly step: Step; readonly after: () => void }>();
    for (let next = this.#queue.peek(); next && filled.size < STEPS_A_COMMIT; next = this.#queue.peek()) {
      if (filled.has(next.key)) break;
      const step = next;
      this.#queue.shift();
      const own = new Change();
      try {
        filled.set(step.key, { step, after: await step.fill(own) });
        change.add(own);
        last.push(...(this.#last.get(own) ?? []));
      } catch (error) {
        step.failed(error);
      }
    }
    try {
      for (const put of last) put(change);
      if (!change.empty) await this.#store.commit(change);
    } catch (error) {
      for (const { step } of filled.values()) step.failed(error);
      return;
    }
    for (const { step, after } of filled.values()) {
      after();
      step.done();
    }
  }
}

export const draining = (): FedgateError =>
  new FedgateError('DRAINING', 'the gateway is about to stop', { retryAfterMs: 200 });
