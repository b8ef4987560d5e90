/** Something with memory: a gateway, also while it is away. */
interface Resident {
  rss(): Promise<number | undefined>;
}

const SAMPLE_MS = 250;

/** Watches the resident sets of processes and remembers the highest of each. */
export class ResidentWatch implements Disposable {
  readonly #watched: readonly Resident[];
  readonly #timer: NodeJS.Timeout;
  readonly #peaks: number[];

  constructor(watched: readonly Resident[]) {
    this.#watched = watched;
    this.#peaks = watched.map(() => 0);
    this.#timer = setInterval(() => void this.sample(), SAMPLE_MS);
  }

  /** MB of each, 0 while it is away. */
  async sample(): Promise<number[]> {
    const now = await Promise.all(this.#watched.map(async each => ((await each.rss()) ?? 0) / 1024 ** 2));
    now.forEach((mb, i) => {
      this.#peaks[i] = Math.max(this.#peaks[i] ?? 0, mb);
    });
    return now.map(Math.round);
  }

  /** MB of each. */
  get peaks(): number[] {
    return this.#peaks.map(Math.round);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
