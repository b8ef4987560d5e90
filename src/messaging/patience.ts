/** Somebody who has no room for a frame now, and may have before the patience is over. */
export interface Waiting {
  /** The patience is over. Calls `settle` unless that was done. */
  expire(): void;
}

/** How one publisher waits with one frame for all subscriptions that have no room for it: one timer, however many they are. */
export class Patience {
  readonly ms: number;
  readonly #waiting: Waiting[] = [];
  #open = 0;
  #taken = 0;
  #timer: NodeJS.Timeout | undefined;
  #resolve: (() => void) | undefined;

  constructor(ms: number) {
    this.ms = ms;
  }

  /** Whether nobody waits. */
  get over(): boolean {
    return this.#open === 0;
  }

  /** How many that waited took it in the end. */
  get taken(): number {
    return this.#taken;
  }

  add(waiting: Waiting): void {
    this.#timer ??= setTimeout(() => this.#expire(), this.ms);
    this.#waiting.push(waiting);
    this.#open++;
  }

  /** One that was added took the frame, or never will. */
  settle(taken: boolean): void {
    if (taken) this.#taken++;
    if (--this.#open > 0) return;
    clearTimeout(this.#timer);
    this.#resolve?.();
  }

  /** Resolves when nobody waits any more. */
  async settled(): Promise<void> {
    if (this.over) return;
    await new Promise<void>(resolve => {
      this.#resolve = resolve;
    });
  }

  #expire(): void {
    for (const waiting of this.#waiting) waiting.expire();
  }
}
