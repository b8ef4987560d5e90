import type { ApproverKey } from '../../gen/ts/fedgate/registry/v1/record.js';
import { readApprovalKey } from '../identity/approval-key.js';
import type { Approver, ApproverRevocation } from '../identity/approver.js';
import { parseApproverName } from '../identity/names.js';

/**
 * The approval keys in a record. What is wrong is thrown as a plain sentence; `record.ts` says whose record it is.
 *
 * A key that was in a record once stays in all that follow: its votes can be judged for ever, and it is never given to somebody else.
 */

export const MAX_APPROVER_KEYS = 64;

export const approverToWire = ({ name, key, addMs, revocation }: Approver): ApproverKey => ({
  name,
  publicKey: key.spki,
  addTimeMs: BigInt(addMs),
  revocation: revocation && { timeMs: BigInt(revocation.timeMs), compromised: revocation.compromised },
});

/** Checks names, keys and times. `authorities`: the ids that the record's own CA keys would have as approval keys. */
export function readApprovers(keys: readonly ApproverKey[], authorities: readonly string[]): Approver[] {
  if (keys.length > MAX_APPROVER_KEYS) throw new Error(`it has more than ${MAX_APPROVER_KEYS} approval keys`);
  const approvers = keys.map(readApprover);
  const ids = new Set(approvers.map(({ key }) => key.id));
  if (ids.size < approvers.length) throw new Error('an approval key stands in it twice');
  if (authorities.some(id => ids.has(id))) throw new Error('an approval key is the key of its CA');
  return approvers;
}

/** At least 1, and no more than there are approvers with a key that is good. */
export function readApprovalsRequired(required: number, approvers: readonly Approver[]): number {
  const good = goodApproverNames(approvers).size;
  if (required > 1 && required > good)
    throw new Error(`it requires ${required} approvals and has ${good} approvers with a good key`);
  return Math.max(1, required);
}

/** The names of those with at least one key that is not revoked. */
export const goodApproverNames = (approvers: readonly Approver[]): ReadonlySet<string> =>
  new Set(approvers.filter(({ revocation }) => !revocation).map(({ name }) => name));

/** Checks that every key is still there and the same, and that no revocation was taken back or softened. */
export function checkApproverSuccession(previous: readonly Approver[], next: readonly Approver[]): void {
  const byId = new Map(next.map(approver => [approver.key.id, approver]));
  for (const { name, key, addMs, revocation } of previous) {
    const kept = byId.get(key.id);
    if (!kept) throw new Error(`the approval key ${key.id} is gone; a key is revoked, never removed`);
    if (kept.name !== name || kept.addMs !== addMs) throw new Error(`the approval key ${key.id} was changed`);
    if (revocation && !isAtLeastAsStrict(kept.revocation, revocation)) {
      throw new Error(`the revocation of the approval key ${key.id} was taken back or softened`);
    }
  }
}

const isAtLeastAsStrict = (next: ApproverRevocation | undefined, previous: ApproverRevocation): boolean =>
  next !== undefined && next.timeMs <= previous.timeMs && (next.compromised || !previous.compromised);

function readApprover({ name, publicKey, addTimeMs, revocation }: ApproverKey): Approver {
  return {
    name: parseApproverName(name, 'approver'),
    key: readApprovalKey(publicKey),
    addMs: readTime(addTimeMs),
    revocation: revocation && { timeMs: readTime(revocation.timeMs), compromised: revocation.compromised },
  };
}

/** The last moment that a Date can hold. */
const LAST_MS = 8_640_000_000_000_000n;

function readTime(timeMs: bigint): number {
  if (timeMs <= 0n || timeMs > LAST_MS) throw new Error(`an approval key has the time ${timeMs}, which is none`);
  return Number(timeMs);
}
