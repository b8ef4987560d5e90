import type { LiveMeter } from './live-meter.js';

/** More than this behind is a backlog: the newest of the records is not what anybody waits for at the moment. */
export const BACKLOG_BYTES = 4 * 1024 * 1024;
/**
 * What a backlog may take beside live traffic, bytes per second, or this many times the live bytes: two lanes share the processors. At
 * 8 MiB/s the slowest live messages took nine times as long as alone on two cores; this is still 14 times the bytes of a thousand
 * small live messages per second.
 */
const BACKLOG_RATE = 2 * 1024 * 1024;
const BACKLOG_SHARE = 8;

/** Keeps a backlog from delaying live messages. */
export class Pacer {
  readonly #live: LiveMeter;
  readonly #now: () => number;
  #nextMs = 0;

  constructor(live: LiveMeter, now: () => number = () => performance.now()) {
    this.#live = live;
    this.#now = now;
  }

  /** How long a batch is to wait, milliseconds, when this many bytes wait behind it. */
  delayMs(bytes: number, backlogBytes: number): number {
    const nowMs = this.#now();
    if (!this.#live.active || backlogBytes <= BACKLOG_BYTES) {
      this.#nextMs = nowMs;
      return 0;
    }
    const rate = Math.max(BACKLOG_RATE, BACKLOG_SHARE * this.#live.bytesPerSecond);
    const startMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = startMs + (bytes / rate) * 1000;
    return startMs - nowMs;
  }
}
