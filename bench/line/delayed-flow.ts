import type { Socket } from 'node:net';

/** What is under way at most, bytes: 80 MB/s for half of 100 ms are 4 MB. */
const UNDER_WAY_BYTES = 64 * 1024 * 1024;

/** Undefined bytes: the end. */
interface Item {
  readonly dueMs: number;
  readonly bytes: Buffer | undefined;
}

/** Bytes of one direction of one connection that arrive later than they were sent, and in order. */
export class DelayedFlow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayMs: number;
  readonly #items: Item[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, delayMs: number) {
    this.#from = from;
    this.#to = to;
    this.#delayMs = delayMs;
    from.on('data', bytes => this.#take(bytes as Buffer));
    from.once('end', () => this.#take(undefined));
    to.on('drain', () => this.#release());
  }

  #take(bytes: Buffer | undefined): void {
    this.#items.push({ dueMs: performance.now() + this.#delayMs, bytes });
    this.#bytes += bytes?.length ?? 0;
    if (this.#bytes > UNDER_WAY_BYTES) this.#from.pause();
    if (this.#items.length === 1) this.#release();
  }

  /** Writes what has arrived, as far as the reader takes it. */
  #release(): void {
    clearTimeout(this.#timer);
    for (;;) {
      const [next] = this.#items;
      if (!next || this.#to.writableNeedDrain || this.#to.destroyed) return;
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#release(), waitMs);
        return;
      }
      this.#items.shift();
      this.#bytes -= next.bytes?.length ?? 0;
      if (this.#bytes <= UNDER_WAY_BYTES) this.#from.resume();
      if (next.bytes) this.#to.write(next.bytes);
      else this.#to.end();
    }
  }
}
