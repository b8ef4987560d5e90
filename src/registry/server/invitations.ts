import { timingSafeEqual } from 'node:crypto';
import { FedgateError, fieldError } from '../../errors.js';
import { sha256 } from '../../sha256.js';
import { TokenBucket } from '../../token-bucket.js';
import { SECRET_BYTES } from '../invitation.js';
import type { StoredInvitation } from './store.js';

/** Wrong secrets that get a plain answer: so many at once, and so many per second. */
const WRONG_SECRETS = { burst: 20, perSecond: 1 } as const;

/** The invitations that were made, at most one for each name, and who knows their secrets. */
export class Invitations {
  readonly #byOrg = new Map<string, StoredInvitation>();
  readonly #wrongSecrets: TokenBucket;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    this.#wrongSecrets = new TokenBucket(WRONG_SECRETS.burst, WRONG_SECRETS.perSecond, now());
  }

  /** Takes the place of an earlier one for the same name. */
  put(invitation: StoredInvitation): void {
    this.#byOrg.set(invitation.org, invitation);
  }

  /** Neither used nor expired; sorted by name. */
  open(): StoredInvitation[] {
    const open = [...this.#byOrg.values()].filter(
      ({ usedBy, expireTimeMs }) => usedBy === undefined && expireTimeMs > this.#now(),
    );
    return open.sort((a, b) => (a.org < b.org ? -1 : 1));
  }

  /**
   * The invitation for a name, if this is its secret; it may have been used. Throws INVITATION_UNKNOWN, INVITATION_EXPIRED,
   * LIMIT_REACHED or FIELD_INVALID.
   */
  find(org: string, secret: Uint8Array): StoredInvitation {
    const secretHash = hashSecret(secret);
    const invitation = this.#byOrg.get(org);
    if (!invitation || !timingSafeEqual(invitation.secretHash, secretHash)) throw this.#wrongSecret();
    if (invitation.usedBy === undefined && invitation.expireTimeMs <= this.#now()) {
      const end = new Date(invitation.expireTimeMs).toISOString();
      throw new FedgateError(
        'INVITATION_EXPIRED',
        `the invitation for ${invitation.org} ended ${end}; ask for a new one`,
      );
    }
    return invitation;
  }

  /** Right secrets are never held up: who floods the registry with wrong ones must not be able to keep others from joining. */
  #wrongSecret(): FedgateError {
    const retryAfterMs = this.#wrongSecrets.take(this.#now());
    if (retryAfterMs > 0) {
      const metadata = { limit: 'wrong invitations' };
      return new FedgateError('LIMIT_REACHED', 'too many unknown invitations', { retryAfterMs, metadata });
    }
    return new FedgateError(
      'INVITATION_UNKNOWN',
      'this registry did not make that invitation, or a newer one replaced it',
    );
  }
}

/** What is kept of a secret. Throws FIELD_INVALID for one of another length. */
export function hashSecret(secret: Uint8Array): Buffer {
  if (secret.length !== SECRET_BYTES) throw fieldError('invitation_secret', `must be ${SECRET_BYTES} bytes`);
  return sha256(secret);
}
