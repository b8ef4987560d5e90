import { TokenBucket } from '../../token-bucket.js';
import type { BookEvent } from './options.js';

/** Refusals of one organisation that the log takes at once, and then one in so many milliseconds: some 1,440 entries a day. */
export const REFUSALS_AT_ONCE = 64;
export const REFUSAL_EVERY_MS = 60_000;

/** Keeps whoever sends nothing but junk from filling the disk with what is said about it. */
export class Muting {
  readonly #onEvent: (event: BookEvent) => void;
  readonly #buckets = new Map<string, { readonly bucket: TokenBucket; muted: boolean }>();

  constructor(onEvent: (event: BookEvent) => void) {
    this.#onEvent = onEvent;
  }

  /** Whether one more refusal of what this member said is worth an entry. */
  allows(org: string, nowMs: number): boolean {
    let state = this.#buckets.get(org);
    if (!state) {
      state = { bucket: new TokenBucket(REFUSALS_AT_ONCE, 1_000 / REFUSAL_EVERY_MS, nowMs), muted: false };
      this.#buckets.set(org, state);
    }
    const allowed = state.bucket.take(nowMs) === 0;
    if (!allowed && !state.muted) this.#onEvent({ kind: 'refusals-muted', org });
    state.muted = !allowed;
    return allowed;
  }
}
