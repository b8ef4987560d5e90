/** What was seen, and who waits to see it. */
export class Sightings {
  readonly #seen = new Set<string>();
  readonly #waiting = new Map<string, () => void>();

  note(id: string): void {
    this.#seen.add(id);
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }

  /** Resolves once it was seen. One at a time waits for each. */
  of(id: string): Promise<void> {
    if (this.#seen.has(id)) return Promise.resolve();
    return new Promise(resolve => this.#waiting.set(id, resolve));
  }
}
