import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { sha256 } from '../../sha256.js';
import { escapeControls } from '../../text.js';
import type { Desk } from './desk.js';
import type { Step } from './step.js';

/** Characters of a reason that is told to others, or taken from them. */
export const MAX_MESSAGE_CHARACTERS = 500;

export const cut = (text: string): string => escapeControls(text.slice(0, MAX_MESSAGE_CHARACTERS));

/** What honest gateways never do, whatever goes wrong. */
const ALARMS: ReadonlySet<string> = new Set([
  'PROPOSAL_FORKED',
  'SIGNATURE_INVALID',
  'IDENTITY_MISMATCH',
  'RECEIPT_INVALID',
  'CERTIFICATE_UNTRUSTED',
]);

/**
 * Something that another organisation said is not taken: the log and an operator hear of it, unless they heard of so much already. What says that
 * somebody shows different things to different people is counted for itself. False: nothing was said.
 */
export function refuse(
  desk: Desk,
  step: Step,
  org: OrgName,
  id: Buffer,
  what: Uint8Array,
  error: FedgateError,
): boolean {
  const { reason } = error;
  const message = cut(error.message);
  if (!desk.muting.allows(reason === 'PROPOSAL_FORKED' ? `${org} forks` : org, step.nowMs)) return false;
  step.log(id, org, { $case: 'refused', value: { reason, message, sha256: sha256(what) } });
  const kind = ALARMS.has(reason) ? 'alarm' : 'refused';
  step.after(() => desk.event({ kind, reason, org, proposal: id.toString('hex'), message }));
  return true;
}

/**
 * What an error says about what was sent; undefined when it is about the disk. A defect of this program counts as a refusal too: what it stumbled
 * over must not stand in the way of all that comes after.
 */
export function refusalOf(error: unknown): FedgateError | undefined {
  if (!(error instanceof FedgateError)) return new FedgateError('INTERNAL', 'internal error', { cause: error });
  return error.reason.startsWith('STORE_') && error.reason !== 'STORE_DAMAGED' ? undefined : error;
}
