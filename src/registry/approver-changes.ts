import { FedgateError, fieldError, quoted } from '../errors.js';
import type { ApprovalKey } from '../identity/approval-key.js';
import type { Approver, ApproverRevocation } from '../identity/approver.js';
import type { OrgProfile } from './record.js';
import { goodApproverNames, MAX_APPROVER_KEYS } from './record-approvers.js';
import type { ApproverSettings } from './update.js';

/** What an organisation does with its approval keys: from the record as it is to what the next one says. Undefined: nothing to do. */

type Previous = Pick<OrgProfile, 'org' | 'approvers' | 'approvalsRequired'>;

/** What a new key must keep to, whatever it is: told before it is made. Throws LIMIT_REACHED, and FIELD_INVALID for `required`. */
export function checkRoom(
  { org, approvers, approvalsRequired }: Previous,
  { name, required = approvalsRequired }: { readonly name: string; readonly required: number | undefined },
): void {
  if (approvers.length >= MAX_APPROVER_KEYS) {
    throw new FedgateError('LIMIT_REACHED', `${org} has ${MAX_APPROVER_KEYS} approval keys, revoked ones included`);
  }
  checkRequired(org, new Set([...goodApproverNames(approvers), name]), required);
}

/** Adds a key. Throws as `checkRoom`, and APPROVER_KEY_TAKEN when the key is there as somebody else's, or revoked. */
export function addApprover(
  previous: Previous,
  { key, addMs, ...terms }: { name: string; key: ApprovalKey; addMs: number; required: number | undefined },
): ApproverSettings | undefined {
  const { approvers } = previous;
  const known = approvers.find(({ key: { id } }) => id === key.id);
  if (!known) {
    checkRoom(previous, terms);
    const added = { name: terms.name, key, addMs, revocation: undefined };
    return { approvers: [...approvers, added], approvalsRequired: terms.required ?? previous.approvalsRequired };
  }
  if (known.name !== terms.name || known.revocation) {
    const why = known.revocation ? 'is revoked, which is for ever' : `is the key of ${known.name} already`;
    throw new FedgateError('APPROVER_KEY_TAKEN', `the approval key ${key.id} ${why}`, {
      metadata: { approver: known.name, keyId: key.id },
    });
  }
  return requireApprovals(previous, terms.required ?? previous.approvalsRequired);
}

/** Changes how many approvers must approve. Throws FIELD_INVALID. */
export function requireApprovals(previous: Previous, required: number): ApproverSettings | undefined {
  const { org, approvers, approvalsRequired } = previous;
  checkRequired(org, goodApproverNames(approvers), required);
  return required === approvalsRequired ? undefined : { approvers, approvalsRequired: required };
}

/**
 * The keys that a text names: an approver's, or the one with that id, of which 8 digits are enough if no other begins with them. Throws
 * FIELD_INVALID.
 */
export function findApproverKeys({ org, approvers }: Previous, text: string): readonly Approver[] {
  const byName = approvers.filter(({ name }) => name === text);
  const byId = /^[0-9a-f]{8,64}$/.test(text) ? approvers.filter(({ key }) => key.id.startsWith(text)) : [];
  if (byId.length > 1 || (byId.length > 0 && byName.length > 0)) {
    throw fieldError('key', `${quoted(text)} may mean several keys; give the whole id`);
  }
  const found = [...byName, ...byId];
  if (found.length === 0) throw fieldError('key', `${org} has no approver and no approval key ${quoted(text)}`);
  return found;
}

/**
 * Revokes keys by their ids. One that is revoked already is only made to be so earlier, or as compromised. Throws FIELD_INVALID when too few
 * approvers are left and `required` does not say what holds from now on.
 */
export function revokeKeys(
  { org, approvers, approvalsRequired }: Previous,
  ids: ReadonlySet<string>,
  revocation: ApproverRevocation,
  required: number | undefined,
): ApproverSettings | undefined {
  const next = approvers.map(approver => (ids.has(approver.key.id) ? revoked(approver, revocation) : approver));
  const wanted = required ?? approvalsRequired;
  if (wanted === approvalsRequired && next.every((approver, i) => approver === approvers[i])) return undefined;
  checkRequired(org, goodApproverNames(next), wanted);
  return { approvers: next, approvalsRequired: wanted };
}

function revoked(approver: Approver, { timeMs, compromised }: ApproverRevocation): Approver {
  const before = approver.revocation;
  const stricter = {
    timeMs: Math.min(timeMs, before?.timeMs ?? timeMs),
    compromised: compromised || before?.compromised === true,
  };
  const same = before?.timeMs === stricter.timeMs && before.compromised === stricter.compromised;
  return same ? approver : { ...approver, revocation: stricter };
}

function checkRequired(org: string, good: ReadonlySet<string>, required: number): void {
  if (required === 1 || required <= good.size) return;
  throw fieldError(
    'required',
    `${org} would need ${required} approvers and have ${good.size} with a good key; add more first, or require fewer (--required)`,
  );
}
