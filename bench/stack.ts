/** Node 20 has none of its own. Ends what it was given, the last first. */
export class AsyncDisposableStack implements AsyncDisposable {
  readonly #used: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(used: T): T {
    this.#used.push(used);
    return used;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const used of this.#used.reverse()) await used[Symbol.asyncDispose]();
  }
}
