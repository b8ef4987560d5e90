import type { Socket } from 'node:net';

/** How many bytes of one connection wait at most, but for one read of the socket. */
const WAITING_BYTES = 64 * 1024;
/** What a connection may send before the next one's turn, bytes: about one packet. */
const TURN_BYTES = 1_500;
/** Idle time does not add up: at most so much is sent at once, milliseconds of the rate. */
const BURST_MS = 10;

interface Waiting {
  readonly from: Socket;
  readonly to: Socket;
  readonly chunks: Buffer[];
  bytes: number;
  ended: boolean;
}

/** One direction of a line: a rate that all its connections share, each in its turn. */
export class LimitedDirection {
  readonly #bytesPerMs: number;
  readonly #connections: Waiting[] = [];
  #turn = 0;
  #budget = 0;
  #lastMs = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  add(from: Socket, to: Socket): void {
    const waiting: Waiting = { from, to, chunks: [], bytes: 0, ended: false };
    this.#connections.push(waiting);
    from.on('data', chunk => {
      waiting.chunks.push(chunk as Buffer);
      waiting.bytes += chunk.length;
      if (waiting.bytes >= WAITING_BYTES) from.pause();
      this.#schedule();
    });
    from.once('end', () => {
      waiting.ended = true;
      this.#schedule();
    });
    to.on('drain', () => this.#schedule());
    to.once('close', () => this.#connections.splice(this.#connections.indexOf(waiting), 1));
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#send(), 1);
  }

  #send(): void {
    this.#timer = undefined;
    const now = performance.now();
    this.#budget = Math.min(this.#budget + (now - this.#lastMs) * this.#bytesPerMs, BURST_MS * this.#bytesPerMs);
    this.#lastMs = now;
    let idle = 0;
    while (this.#budget > 0 && idle < this.#connections.length) {
      this.#turn = (this.#turn + 1) % this.#connections.length;
      const sent = this.#sendOf(this.#connections[this.#turn]);
      this.#budget -= sent;
      idle = sent > 0 ? 0 : idle + 1;
    }
    if (idle < this.#connections.length) this.#schedule();
  }

  /** One turn of a connection. Returns bytes. */
  #sendOf(waiting: Waiting | undefined): number {
    if (!waiting || waiting.to.writableNeedDrain) return 0;
    const [first] = waiting.chunks;
    if (!first) {
      if (waiting.ended && !waiting.to.writableEnded) waiting.to.end();
      return 0;
    }
    const bytes = first.subarray(0, TURN_BYTES);
    if (bytes.length === first.length) waiting.chunks.shift();
    else waiting.chunks[0] = first.subarray(bytes.length);
    waiting.bytes -= bytes.length;
    if (waiting.bytes < WAITING_BYTES) waiting.from.resume();
    waiting.to.write(bytes);
    return bytes.length;
  }
}
