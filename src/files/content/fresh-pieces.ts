import type { FileState } from '../disk/open-file.js';

/** How long a file counts as fresh: what was just written is usually read at once, and hashed by whoever gets it. */
export const FRESH_MS = 60_000;
/** 4 GiB in pieces of 4 MiB; some 200 KB of memory. */
const MAX_PIECES = 1_024;
/** Clocks of file systems tick in some milliseconds: a file touched later than this may be written to once more without a trace. */
const SETTLED_NS = 500_000_000n;

interface Fresh extends FileState {
  readonly untilMs: number;
}

/**
 * Files whose bytes this process has found right a moment ago, and that nobody has touched since: they are not hashed again.
 *
 * Which is known from their time of last change, so it must lie far enough back to tell a later change from it.
 */
export class FreshPieces {
  readonly #now: () => number;
  readonly #pieces = new Map<string, Fresh>();

  /** `now`: epoch milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Notes a file that was found right. `state`: as it was before it was looked at. */
  add(sha256: Buffer, { ino, size, mtimeNs }: FileState): void {
    const nowMs = this.#now();
    if (BigInt(Math.floor(nowMs)) * 1_000_000n - mtimeNs < SETTLED_NS) return;
    const name = nameOf(sha256);
    this.#pieces.delete(name);
    this.#pieces.set(name, { ino, size, mtimeNs, untilMs: nowMs + FRESH_MS });
    const [oldest] = this.#pieces.keys();
    if (this.#pieces.size > MAX_PIECES && oldest !== undefined) this.#pieces.delete(oldest);
  }

  has(sha256: Buffer, state: FileState): boolean {
    const fresh = this.#pieces.get(nameOf(sha256));
    if (!fresh || fresh.untilMs <= this.#now()) return false;
    return fresh.ino === state.ino && fresh.size === state.size && fresh.mtimeNs === state.mtimeNs;
  }
}

const nameOf = (sha256: Buffer): string => sha256.toString('base64');
