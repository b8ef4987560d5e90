import type { FedgateError } from '../errors.js';

/** What an operator's policy may be asked about. */
export const POLICY_ACTIONS = ['publish', 'deliver', 'request', 'fetch'] as const;
export type PolicyAction = (typeof POLICY_ACTIONS)[number];

/** Somebody, or something that somebody has. */
export interface PolicySubject {
  readonly org: string;
  readonly node: string;
}

export interface PolicyQuestion {
  readonly action: PolicyAction;
  /** Who wants to. */
  readonly subject: PolicySubject;
  /** The organisation whose channel or share it is. */
  readonly targetOrg: string;
  /** A channel (publish, request), a pattern (deliver), or a share (fetch). */
  readonly target: string;
  /** Records and their bytes; 0 where there are none yet. */
  readonly records: number;
  readonly bytes: number;
}

/** Decides what an operator's policy allows, beside the grants. */
export interface Policy {
  /** Whether it has a say in an action at all. When not, nobody needs to ask. */
  asks(action: PolicyAction): boolean;
  /**
   * Allows by returning or resolving: at once when nothing is asked or the answer is known. Throws and rejects with POLICY_DENIED or
   * POLICY_UNAVAILABLE.
   */
  check(question: PolicyQuestion): void | Promise<void>;
  /**
   * As `check`, for what goes on: asks again whenever an answer ends, and calls `end` with what it then is refused with. Resolves with what
   * stops that.
   */
  watch(question: PolicyQuestion, end: (error: FedgateError) => void): (() => void) | Promise<() => void>;
}

/** What is asked before somebody fetches a share. */
export const fetchQuestion = (subject: PolicySubject, targetOrg: string, target: string): PolicyQuestion => ({
  ...{ action: 'fetch', subject, targetOrg, target, records: 0, bytes: 0 },
});

/** What is asked before a node of an organisation receives what comes on the channels of a pattern there. */
export const deliverQuestion = (subject: PolicySubject, target: string): PolicyQuestion => ({
  ...{ action: 'deliver', subject, targetOrg: subject.org, target, records: 0, bytes: 0 },
});

/** Of a gateway without one. */
export const NO_POLICY: Policy = {
  asks: () => false,
  check: () => undefined,
  watch: () => () => undefined,
};
