/**
 * Lets pass what is checked, in the order of the calls of one line. Whoever need not wait, and comes when nobody waits, passes at once.
 */
export class InOrder {
  readonly #lines = new Map<string, Promise<void>>();

  /** Runs `go` once `check` allows it. Throws and rejects as `check` does, or as `go`. */
  run<T>(line: string, check: () => void | Promise<void>, go: () => T | Promise<T>): T | Promise<T> {
    const before = this.#lines.get(line);
    const verdict = before === undefined ? check() : before.then(check);
    if (!(verdict instanceof Promise)) return go();
    const result = verdict.then(go);
    // Registered after `go`, so whoever waits for it comes after `go` has begun.
    const begun = verdict.then(nothing, nothing);
    this.#lines.set(line, begun);
    void begun.then(() => {
      if (this.#lines.get(line) === begun) this.#lines.delete(line);
    });
    return result;
  }
}

const nothing = (): void => undefined;
