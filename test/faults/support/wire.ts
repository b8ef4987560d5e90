import type { Socket } from 'node:net';
import type { Random } from './random.js';

/** How a wire treats what passes. */
export interface WireConditions {
  /** Everything arrives so much later, milliseconds. */
  readonly delayMs: number;
  /** The share of pieces that are lost at first: they and all behind them arrive a retransmission later. */
  readonly loss: number;
  /** At most so many bytes per second and direction. 0: as many as come. */
  readonly bytesPerSecond: number;
}

export const CLEAR: WireConditions = { delayMs: 0, loss: 0, bytesPerSecond: 0 };

/** The least time after which TCP sends again what was not acknowledged (Linux: TCP_RTO_MIN). */
const RETRANSMISSION_MS = 200;
/** What may be on the wire in one direction before the sender is held back, like the buffers of a real path. */
const MAX_BUFFERED_BYTES = 4 * 1024 * 1024;

type Piece = { readonly bytes: Buffer | undefined; readonly dueMs: number };

/** One direction of a connection. Order is kept, as TCP keeps it. */
export class WireDirection {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #random: Random;
  readonly #conditions: () => WireConditions;
  readonly #onPassed: (bytes: number) => void;
  readonly #pieces: Piece[] = [];
  #bufferedBytes = 0;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #blocked = false;
  /** What comes is thrown away. */
  swallowed = false;
  /** What comes waits. */
  #stalled = false;

  /** `onPassed` hears of the bytes that were handed to the receiver. */
  constructor(
    from: Socket,
    to: Socket,
    conditions: () => WireConditions,
    random: Random,
    onPassed: (bytes: number) => void = () => undefined,
  ) {
    this.#from = from;
    this.#to = to;
    this.#onPassed = onPassed;
    this.#conditions = conditions;
    this.#random = random;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => this.#take(undefined));
    from.once('close', () => this.#closed());
    from.on('error', () => undefined);
    to.on('drain', () => {
      this.#blocked = false;
      this.#deliver();
    });
  }

  set stalled(stalled: boolean) {
    this.#stalled = stalled;
    if (!stalled) this.#deliver();
  }

  /** Undefined: the sender is done. */
  #take(bytes: Buffer | undefined): void {
    if (this.swallowed) return;
    const { delayMs, loss, bytesPerSecond } = this.#conditions();
    const nowMs = performance.now();
    const length = bytes?.length ?? 0;
    let dueMs = Math.max(nowMs + delayMs, this.#lastDueMs);
    if (bytesPerSecond > 0) dueMs += (length / bytesPerSecond) * 1_000;
    if (this.#random.chance(loss)) dueMs += RETRANSMISSION_MS;
    this.#lastDueMs = dueMs;
    this.#pieces.push({ bytes, dueMs });
    this.#bufferedBytes += length;
    if (this.#bufferedBytes > MAX_BUFFERED_BYTES) this.#from.pause();
    this.#deliver();
  }

  #deliver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let piece = this.#pieces[0]; piece && !this.#stalled && !this.#blocked; piece = this.#pieces[0]) {
      const waitMs = piece.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#deliver(), Math.ceil(waitMs));
        return;
      }
      this.#pieces.shift();
      this.#pass(piece);
    }
  }

  #pass({ bytes }: Piece): void {
    if (!bytes) return void this.#to.end();
    this.#bufferedBytes -= bytes.length;
    if (this.#bufferedBytes <= MAX_BUFFERED_BYTES / 2) this.#from.resume();
    if (this.#to.destroyed) return;
    if (!this.#to.write(bytes)) this.#blocked = true;
    this.#onPassed(bytes.length);
  }

  /** Nobody hears of a connection that ended behind a wire that lets nothing through. */
  #closed(): void {
    if (this.swallowed || this.#stalled) return;
    clearTimeout(this.#timer);
    this.#to.destroy();
  }
}
