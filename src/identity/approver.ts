import type { ApprovalKey } from './approval-key.js';

/** An approval key in an organisation's record. */
export interface Approver {
  readonly name: string;
  readonly key: ApprovalKey;
  readonly addMs: number;
  readonly revocation: ApproverRevocation | undefined;
}

/** The end of an approval key. */
export interface ApproverRevocation {
  readonly timeMs: number;
  /** Somebody else may have the key. Otherwise its holder left. */
  readonly compromised: boolean;
}
