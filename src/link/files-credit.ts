const MIB = 1024 * 1024;
/** The most that one session may be sent and its reader has not taken. */
export const SESSION_WINDOW_BYTES = 16 * MIB;
/** The same, of all sessions of a peer together. */
export const PEER_WINDOW_BYTES = 32 * MIB;
/** However many sessions share it, the window of one is not smaller. Some then wait. */
export const MIN_WINDOW_BYTES = MIB;
/** Credit rises by at least that, unless less is wanted. */
const STEP_BYTES = MIB;

/** A session that wants bytes. */
export interface CreditUser {
  /** Bytes that are wanted and that there is no credit for yet. */
  readonly uncovered: number;
  /** Bytes that there was credit for and that no reader has taken yet. */
  readonly held: number;
  /** Takes credit for more bytes. */
  grant(bytes: number): void;
}

/**
 * Shares what may be on its way from one peer between the sessions with it.
 *
 * Credit is given for wanted bytes only, so that none is left over, and for no more in all than what fits: a peer that sends all it may
 * fills that much memory. Whoever gets none for that reason is served first when some is free.
 */
export class CreditPool {
  readonly #active = new Set<CreditUser>();
  readonly #waiting = new Set<CreditUser>();
  #held = 0;

  /** Bytes that may come, or have come and were not taken. */
  get held(): number {
    return this.#held;
  }

  /** More is wanted. */
  want(user: CreditUser): void {
    this.#active.add(user);
    if (this.#waiting.size === 0) this.#serve(user);
    else this.#waiting.add(user);
  }

  /** A reader took bytes that there was credit for, or they will never come. */
  release(user: CreditUser, bytes: number): void {
    this.#held -= bytes;
    this.#serveWaiting();
    if (user.held === 0 && user.uncovered === 0) this.#active.delete(user);
    else if (!this.#waiting.has(user)) this.#serve(user);
  }

  /** It wants nothing any more, and what it held is free. */
  remove(user: CreditUser): void {
    this.#active.delete(user);
    this.#waiting.delete(user);
    this.#held -= user.held;
    this.#serveWaiting();
  }

  /** In the order in which they came to wait. */
  #serveWaiting(): void {
    for (const user of this.#waiting) this.#serve(user);
  }

  #serve(user: CreditUser): void {
    const share = Math.floor(PEER_WINDOW_BYTES / this.#active.size);
    const window = Math.min(SESSION_WINDOW_BYTES, Math.max(MIN_WINDOW_BYTES, share));
    const most = Math.min(window - user.held, user.uncovered);
    const step = Math.min(STEP_BYTES, window / 4, user.uncovered);
    const free = PEER_WINDOW_BYTES - this.#held;
    if (most > 0 && most >= step && free < step) {
      this.#waiting.add(user);
      return;
    }
    this.#waiting.delete(user);
    if (most <= 0 || most < step) return;
    const bytes = Math.min(most, free);
    this.#held += bytes;
    user.grant(bytes);
  }
}
