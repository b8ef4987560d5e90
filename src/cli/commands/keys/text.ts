import type { Approver, ApproverRevocation } from '../../../identity/approver.js';
import { isoTime } from '../../times.js';

/** How a key stands, for people. */
export const stateOf = ({ addMs, revocation }: Approver): string =>
  revocation ? revocationText(revocation) : `good since ${isoTime(addMs)}`;

export const revocationText = ({ timeMs, compromised }: ApproverRevocation): string =>
  `${compromised ? 'compromised' : 'departed'} since ${isoTime(timeMs)}`;
