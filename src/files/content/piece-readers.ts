/** Digests that are remembered: 64 GiB in pieces of 4 MiB; some 2 MB of memory. */
const MAX_PIECES = 16_384;

/**
 * Which pieces were read lately. Most files cross once: their pieces are read past the page cache, which has better use for its memory. What is read
 * a second time goes through it, and is read from there the third time.
 */
export class PieceReaders {
  readonly #most: number;
  readonly #read = new Set<string>();

  constructor(most = MAX_PIECES) {
    this.#most = most;
  }

  /** Whether a piece was read before, which from now on it was. */
  again(sha256: Buffer): boolean {
    const name = sha256.toString('base64');
    const again = this.#read.delete(name);
    this.#read.add(name);
    const [oldest] = this.#read;
    if (this.#read.size > this.#most && oldest !== undefined) this.#read.delete(oldest);
    return again;
  }
}
