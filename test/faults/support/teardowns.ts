import type { TestScope } from '../../support/registry.js';

/** What a test's scope is where there is no test. */
export class Teardowns implements TestScope {
  readonly #undo: (() => unknown)[] = [];

  teardown(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** Undoes all, last things first; goes on when one fails, and then throws the first failure. */
  async undo(): Promise<void> {
    const failures: unknown[] = [];
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
