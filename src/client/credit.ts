/** Bytes that may wait in this process for the iteration. */
export const BUFFER_BYTES = 4 * 1024 * 1024;
/** Records allowed and not yet delivered. Enough for every round trip to the own gateway; more would only make the bytes less certain. */
const MAX_ALLOWED = 4_096;
/** What a record is taken to have before the first came, bytes. */
const FIRST_GUESS_BYTES = 1_024;

/**
 * How many records the gateway may deliver.
 *
 * What was allowed and what is out are together at most the limit. The contract counts records, and this process must bound bytes: so no
 * more are allowed than would fit, by the size of the last ones, into what the buffer has left. Reading cannot simply stop instead
 * when the buffer is full: the answers to acknowledgements come on the same stream.
 */
export class Credit {
  readonly #limit: number;
  #allowed = 0;
  #out = 0;
  #recordBytes = FIRST_GUESS_BYTES;
  /** How many may be allowed in all from now on. */
  #left: number;

  constructor(limit: number, total: number) {
    this.#limit = limit;
    this.#left = total;
  }

  delivered(records: number, bytes: number): void {
    this.#allowed = Math.max(0, this.#allowed - records);
    this.#out += records;
    const size = bytes / Math.max(1, records);
    // Larger records count at once, smaller ones by and by.
    this.#recordBytes = size > this.#recordBytes ? size : this.#recordBytes * 0.9 + size * 0.1;
  }

  returned(records: number): void {
    this.#out -= records;
  }

  /** Records came that the program does not want: they do not count among those allowed in all. */
  unwanted(records: number): void {
    this.#left += records;
  }

  /** How many to allow now; 0 while what was allowed lasts for a while. */
  take(bufferedBytes: number): number {
    if (bufferedBytes >= BUFFER_BYTES) return 0;
    const fit = Math.max(1, Math.floor((BUFFER_BYTES - bufferedBytes) / this.#recordBytes));
    const target = Math.min(this.#limit - this.#out, fit, MAX_ALLOWED);
    if (this.#allowed > target / 2) return 0;
    const more = Math.min(Math.ceil(target - this.#allowed), this.#left);
    this.#left -= more;
    this.#allowed += more;
    return more;
  }
}
