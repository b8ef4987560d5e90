import { Fifo } from '../../fifo.js';
import { Change, type Store } from '../../store/store.js';
import type { OnContentEvent } from './events.js';
import { IndexView, StepWrites } from './index-view.js';

/** Steps that share a commit: bounds what one of them may wait for. */
const STEPS_PER_COMMIT = 256;

interface Waiting {
  run(view: IndexView): Promise<void>;
  readonly alone: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * All changes of the index, one after the other.
 *
 * A step reads rows as the steps before it left them, and writes rows. What waits while a commit is under way shares the next one. When a
 * commit fails, every step of it fails and nothing of them is left: what is committed is the only memory there is.
 */
export class IndexQueue {
  readonly #store: Store;
  readonly #onEvent: OnContentEvent;
  readonly #onFreed: (pieces: readonly Buffer[]) => void;
  readonly #waiting = new Fifo<Waiting>();
  #running: Promise<void> | undefined;

  /** `onFreed` hears of pieces whose rows are gone: their files may go, unless somebody wrote them again. */
  constructor(store: Store, onEvent: OnContentEvent, onFreed: (pieces: readonly Buffer[]) => void) {
    this.#store = store;
    this.#onEvent = onEvent;
    this.#onFreed = onFreed;
  }

  /** Resolves with what the step does once that is on stable storage. Rejects with what the step throws, or STORE_*; then nothing was done. */
  change<T>(step: (view: IndexView) => Promise<T> | T): Promise<T> {
    return this.#enqueue(step, false);
  }

  /** The same for a step that has a commit of its own: all before it is committed when it runs. */
  alone<T>(step: (view: IndexView) => Promise<T> | T): Promise<T> {
    return this.#enqueue(step, true);
  }

  #enqueue<T>(step: (view: IndexView) => Promise<T> | T, alone: boolean): Promise<T> {
    return new Promise((resolve, reject) => {
      let outcome: { readonly value: T } | undefined;
      this.#waiting.push({
        run: async view => {
          outcome = { value: await step(view) };
        },
        resolve: () => outcome && resolve(outcome.value),
        reject,
        alone,
      });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits or is under way. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // What the same turn hands in goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#commit();
    this.#running = undefined;
  }

  async #commit(): Promise<void> {
    const writes = new StepWrites();
    const done: Waiting[] = [];
    const taken: Waiting[] = [];
    for (let next = this.#waiting.shift(); next; next = this.#nextOf(taken)) {
      const view = new IndexView(this.#store, this.#onEvent, writes);
      taken.push(next);
      try {
        await next.run(view);
        view.keep();
        done.push(next);
      } catch (error) {
        next.reject(error);
      }
    }
    const change = writes.toChange(new Change());
    try {
      if (!change.empty) await this.#store.commit(change);
    } catch (error) {
      for (const { reject } of done) reject(error);
      return;
    }
    for (const after of writes.after) after();
    for (const { resolve } of done) resolve();
    if (writes.freed.length > 0) this.#onFreed(writes.freed);
  }

  /** The next step that may share the commit of those taken. */
  #nextOf(taken: readonly Waiting[]): Waiting | undefined {
    const next = this.#waiting.peek();
    const full = taken.length >= STEPS_PER_COMMIT || taken.at(-1)?.alone || next?.alone;
    return full ? undefined : this.#waiting.shift();
  }
}
