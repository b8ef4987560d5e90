import { AUTHOR_BYTES, AUTHOR_POSTS, HONEST_SHARE } from './limits.js';

/** A bucket that is filled by the times that an author signed, not by a clock: all who see the same posts find the same. */
class SignedBucket {
  readonly #burst: number;
  readonly #perMs: number;
  #level: number;

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#level = burst;
  }

  /** How much there would be after a time. */
  after(elapsedMs: number): number {
    return Math.min(this.#burst, this.#level + elapsedMs * this.#perMs);
  }

  set(level: number): void {
    this.#level = level;
  }
}

/** How fast an author publishes on a topic, over all its epochs. */
export class AuthorMeter {
  readonly #posts: SignedBucket;
  readonly #bytes: SignedBucket;
  #lastMs = 0;

  /** `share`: of the bursts. The author itself keeps to less than others allow it. */
  private constructor(share: number) {
    this.#posts = new SignedBucket(AUTHOR_POSTS.burst * share, AUTHOR_POSTS.perSecond);
    this.#bytes = new SignedBucket(AUTHOR_BYTES.burst * share, AUTHOR_BYTES.perSecond);
  }

  /** For posts of others. */
  static ofOther(): AuthorMeter {
    return new AuthorMeter(1);
  }

  /** For the own posts. */
  static ofOwn(): AuthorMeter {
    return new AuthorMeter(HONEST_SHARE);
  }

  /** Counts a post of so many bytes that was signed then. False: it is more than an author may, and is not counted. */
  take(timeMs: number, bytes: number): boolean {
    const elapsedMs = Math.max(0, timeMs - this.#lastMs);
    const posts = this.#posts.after(elapsedMs);
    const room = this.#bytes.after(elapsedMs);
    if (posts < 1 || room < bytes) return false;
    this.#posts.set(posts - 1);
    this.#bytes.set(room - bytes);
    this.#lastMs = Math.max(this.#lastMs, timeMs);
    return true;
  }
}
