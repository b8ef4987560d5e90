import { randomBytes } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';

export const CHALLENGE_LIFETIME_MS = 60_000;
const MAX_CHALLENGES = 1_000;
const MAX_PER_ORG = 10;

interface Entry {
  /** Whom it was given to: whoever holds the invitation for this name. */
  readonly org: OrgName;
  readonly endMs: number;
  used: boolean;
}

/** The challenges that are out: each good once and for a minute, and never many. */
export class Challenges {
  /** In the order in which they end, since all live equally long. */
  readonly #entries = new Map<string, Entry>();

  /** Throws LIMIT_REACHED. */
  create(org: OrgName, nowMs: number): Buffer {
    this.#forgetEnded(nowMs);
    const ofOrg = [...this.#entries.values()].filter(entry => entry.org === org).length;
    if (this.#entries.size >= MAX_CHALLENGES || ofOrg >= MAX_PER_ORG) {
      throw new FedgateError('LIMIT_REACHED', 'too many attempts to join at the same time', {
        metadata: { limit: 'join challenges' },
        retryAfterMs: CHALLENGE_LIFETIME_MS,
      });
    }
    const challenge = randomBytes(32);
    this.#entries.set(challenge.toString('hex'), { org, endMs: nowMs + CHALLENGE_LIFETIME_MS, used: false });
    return challenge;
  }

  /** Uses a challenge up; returns whom it was given to. Throws REPLAYED for one that was used, PROOF_INVALID for one that is unknown or too old. */
  use(challenge: Uint8Array, nowMs: number): OrgName {
    this.#forgetEnded(nowMs);
    const entry = this.#entries.get(Buffer.from(challenge).toString('hex'));
    if (!entry) throw new FedgateError('PROOF_INVALID', 'the challenge is unknown, or older than 60 seconds');
    // Used ones stay until they end, only so that a replay can be called by its name.
    if (entry.used)
      throw new FedgateError('REPLAYED', 'the challenge was used already', { metadata: { org: entry.org } });
    entry.used = true;
    return entry.org;
  }

  #forgetEnded(nowMs: number): void {
    for (const [key, { endMs }] of this.#entries) {
      if (endMs > nowMs) break;
      this.#entries.delete(key);
    }
  }
}
