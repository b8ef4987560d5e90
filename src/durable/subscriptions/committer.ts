import { key } from '../../store/keys.js';
import { Change } from '../../store/store.js';
import type { Outcome, Shared } from './parts.js';
import type { CursorState } from './position.js';
import { type Definition, encodeRow, SUBSCRIPTION } from './row.js';

export interface CommitterOptions {
  readonly shared: Pick<Shared, 'store' | 'log'>;
  readonly definition: () => Definition;
  readonly state: () => CursorState;
  readonly acknowledged: () => number;
  /** The change was not committed: memory is to be what is committed. */
  readonly failed: (error: unknown) => void;
}

type Addition = (change: Change) => Outcome;

/**
 * Stores where a subscription is: one commit at a time. What is acknowledged while one is under way goes into the next, however many
 * frames that are, so that the disk sets the pace and not the consumer.
 */
export class Committer {
  readonly #options: CommitterOptions;
  #row: Buffer;
  #additions: Addition[] = [];
  #dirty = false;
  #running: Promise<void> | undefined;
  #wanted = 0;
  #done = 0;
  #waiting: { readonly version: number; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] =
    [];
  #scheduled = false;
  #stopped: unknown;

  /** `row` is what is committed. */
  constructor(row: Buffer, options: CommitterOptions) {
    this.#row = row;
    this.#options = options;
  }

  /** What is on stable storage. */
  get row(): Buffer {
    return this.#row;
  }

  /** Has the state stored, with an addition to the change, made in the turn in which it is handed to the store. */
  store(addition?: Addition): void {
    if (this.#stopped) return;
    if (addition) this.#additions.push(addition);
    this.#dirty = true;
    this.#wanted++;
    if (this.#running || this.#scheduled) return;
    // Behind what this turn still does: callers are in the middle of changing the state.
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#commit();
    });
  }

  /** Resolves when everything until now is on stable storage. Rejects when that failed. */
  flush(): Promise<void> {
    if (this.#done >= this.#wanted) return Promise.resolve();
    if (this.#stopped) return Promise.reject(this.#stopped);
    return new Promise((resolve, reject) => this.#waiting.push({ version: this.#wanted, resolve, reject }));
  }

  /** Nothing is stored any more; who waits for what was not is told why. Resolves when the last commit has ended. */
  async stop(why: unknown): Promise<void> {
    this.#stopped = why;
    await this.#running;
    this.#settle(why);
  }

  /** Goes on from another row. Only when stopped. */
  restart(row: Buffer): void {
    this.#row = row;
    this.#dirty = false;
    this.#additions = [];
    this.#done = this.#wanted;
    this.#stopped = undefined;
  }

  #commit(): void {
    if (this.#running || !this.#dirty || this.#stopped) return;
    const { shared, definition, state, acknowledged } = this.#options;
    const version = this.#wanted;
    const additions = this.#additions;
    this.#additions = [];
    this.#dirty = false;
    const change = new Change();
    // Additions first: they take out of the state what they put into rows of their own.
    const outcomes = additions.map(add => add(change));
    const { name, pattern } = definition();
    const now = state();
    const row = encodeRow(definition(), now, acknowledged());
    change.put(SUBSCRIPTION, key(name), row);
    this.#running = shared.store.commit(change).then(
      () => {
        this.#running = undefined;
        this.#row = row;
        this.#done = version;
        // Only now may the log let go of what is before the floor.
        if (!this.#stopped) shared.log.hold(name, pattern, now.floor);
        for (const outcome of outcomes) outcome(true);
        this.#settle(undefined);
        this.#commit();
      },
      error => {
        this.#running = undefined;
        for (const outcome of outcomes) outcome(false);
        this.#fail(error);
      },
    );
  }

  /** What was gathered meanwhile rests on what failed. */
  #fail(error: unknown): void {
    this.#additions = [];
    this.#dirty = false;
    this.#done = this.#wanted;
    this.#settle(error);
    if (!this.#stopped) this.#options.failed(error);
  }

  #settle(error: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wait of waiting) {
      if (error !== undefined) wait.reject(error);
      else if (wait.version <= this.#done) wait.resolve();
      else this.#waiting.push(wait);
    }
  }
}
