/** Runs what is handed in for one name one after the other; different names do not wait for each other. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Whoever calls first runs first. */
  run<T>(name: string, step: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const outcome = before.then(step);
    const done = outcome.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(name, done);
    void done.then(() => {
      if (this.#last.get(name) === done) this.#last.delete(name);
    });
    return outcome;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}
