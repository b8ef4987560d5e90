import { FedgateError } from '../errors.js';
import { REVOCATION_NEEDED_MS } from '../identity/revocation.js';
import type { OrgProfile } from './record.js';
import { MAX_REVOKED_KEYS, type RevokedKey } from './record-revocations.js';

/**
 * Revokes a key: what the next record of an organisation says. Keys whose certificates have all ended are left out. Undefined: it is revoked
 * already. Throws LIMIT_REACHED.
 */
export function revokeKey(
  { org, revocations }: Pick<OrgProfile, 'org' | 'revocations'>,
  keyId: string,
  nowMs: number,
): { revokedKeys: readonly RevokedKey[] } | undefined {
  if (revocations.keys.has(keyId)) return undefined;
  const needed = [...revocations.keys.values()].filter(({ timeMs }) => timeMs > nowMs - REVOCATION_NEEDED_MS);
  if (needed.length >= MAX_REVOKED_KEYS)
    throw new FedgateError('LIMIT_REACHED', `the record of ${org} revokes ${MAX_REVOKED_KEYS} keys already`);
  return { revokedKeys: [...needed, { keyId, timeMs: nowMs }] };
}

/**
 * The first key that one record revokes and the next one does not, though certificates with it may not have ended: so writes whoever knows
 * nothing of revocations. Undefined: there is none.
 */
export const forgottenKey = (
  previous: Pick<OrgProfile, 'revocations'>,
  next: Pick<OrgProfile, 'revocations'>,
  nowMs: number,
): RevokedKey | undefined =>
  [...previous.revocations.keys.values()].find(
    ({ keyId, timeMs }) => timeMs > nowMs - REVOCATION_NEEDED_MS && !next.revocations.keys.has(keyId),
  );
