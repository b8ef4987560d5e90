import { LANE_QUEUE_BYTES, LEAST_SHARE_BYTES, MAX_WINDOW_BYTES, SHARED_QUEUE_BYTES } from './terms.js';

/** How many streams each node or lane has, and what of its queue is each one's share. */
export class Shares {
  readonly #most: number;
  readonly #counts = new Map<string, number>();

  constructor(kind: 'node' | 'lane') {
    this.#most = kind === 'node' ? MAX_WINDOW_BYTES : LANE_QUEUE_BYTES;
  }

  count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.count(name) + 1);
  }

  remove(name: string): void {
    const left = this.count(name) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }

  /** Bytes that may wait for one stream of it. */
  share(name: string): number {
    const each = Math.floor(SHARED_QUEUE_BYTES / Math.max(1, this.count(name)));
    return Math.max(LEAST_SHARE_BYTES, Math.min(this.#most, each));
  }
}
