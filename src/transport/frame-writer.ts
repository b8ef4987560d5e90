import { FedgateError } from '../errors.js';

/** The half of a grpc-js stream that is written to. */
interface WritableCall<T> {
  write(frame: T, flushed?: () => void): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

/**
 * Writes frames to a stream without ever outrunning it.
 *
 * grpc-js buffers whatever is written to it and only says `false`. Callers that write in order use `send` and wait; callers with a
 * queue of their own look at `writable`, `put`, and ask to be told with `onDrain`.
 */
export class FrameWriter<T> {
  readonly #call: WritableCall<T>;
  readonly #signal: AbortSignal;
  #writable = true;
  #unflushed = 0;
  #onDrain: (() => void) | undefined;
  #onTaken: (() => void) | undefined;
  #onTheWay = 0;
  #waiting: (() => void)[] = [];

  constructor(call: WritableCall<T>, signal: AbortSignal) {
    this.#call = call;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#drained(), { once: true });
  }

  /** Whether a frame put now stays within the stream's own small buffer. */
  get writable(): boolean {
    return this.#writable && !this.#signal.aborted;
  }

  /** Writes a frame. After a put that made `writable` false, the next comes after the drain. Ignored once the call is over. */
  put(frame: T): void {
    if (this.#signal.aborted) return;
    if (this.#onTaken ? this.#putWatched(frame) : this.#call.write(frame)) return;
    if (!this.#writable) return;
    this.#writable = false;
    this.#call.once('drain', () => this.#drained());
  }

  /** Runs the listener each time the stream takes frames again. One listener only. */
  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  /** Frames that were put since `onTaken` and that the transport has not taken. */
  get onTheWay(): number {
    return this.#onTheWay;
  }

  /** Runs the listener each time the transport has taken a frame that was put from now on. One listener only. */
  onTaken(listener: () => void): void {
    this.#onTaken = listener;
  }

  /** Waits until the stream takes frames, then writes. Throws CANCELLED when the call is over. */
  async send(frame: T): Promise<void> {
    while (!this.#writable && !this.#signal.aborted) await this.#woken();
    this.#throwIfOver();
    this.put(frame);
  }

  /**
   * Writes a frame so large that few of them may lie in the stream's buffer, and then waits until the transport has taken all but so many:
   * whoever makes the next one makes it no sooner than it can go. Throws CANCELLED when the call is over.
   */
  async sendPaced(frame: T, unflushed: number): Promise<void> {
    this.#throwIfOver();
    this.#unflushed++;
    this.#call.write(frame, () => {
      this.#unflushed--;
      this.#wake();
    });
    while (this.#unflushed >= unflushed && !this.#signal.aborted) await this.#woken();
    this.#throwIfOver();
  }

  #putWatched(frame: T): boolean {
    this.#onTheWay++;
    return this.#call.write(frame, this.#taken);
  }

  readonly #taken = (): void => {
    this.#onTheWay--;
    if (!this.#signal.aborted) this.#onTaken?.();
  };

  #drained(): void {
    this.#writable = true;
    this.#wake();
    this.#onDrain?.();
  }

  #throwIfOver(): void {
    if (this.#signal.aborted) throw new FedgateError('CANCELLED', 'the call is over', { cause: this.#signal.reason });
  }

  #woken(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}
