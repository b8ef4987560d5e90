/** How many are remembered: of more, those that were added first are forgotten. */
const MAX_REMEMBERED = 10_000;

/** What is over, by name, for a while. */
export class Remembered<T = undefined> {
  readonly #entries = new Map<string, { readonly value: T; readonly untilMs: number }>();

  /** `keepMs`: how long somebody may still ask for it. */
  add(name: string, value: T, keepMs: number): void {
    if (this.#entries.size >= MAX_REMEMBERED) this.#sweep();
    this.#entries.set(name, { value, untilMs: performance.now() + keepMs });
  }

  has(name: string): boolean {
    const entry = this.#entries.get(name);
    return entry !== undefined && entry.untilMs > performance.now();
  }

  forget(name: string): void {
    this.#entries.delete(name);
  }

  /** All that somebody may still ask for. */
  get all(): [string, T][] {
    const nowMs = performance.now();
    return [...this.#entries].filter(([, { untilMs }]) => untilMs > nowMs).map(([name, { value }]) => [name, value]);
  }

  /** Forgets what nobody may ask for, and the oldest tenth at least. */
  #sweep(): void {
    const nowMs = performance.now();
    let spare = MAX_REMEMBERED / 10;
    for (const [name, { untilMs }] of this.#entries) if (untilMs <= nowMs || spare-- > 0) this.#entries.delete(name);
  }
}
