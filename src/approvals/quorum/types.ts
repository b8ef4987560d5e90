import type { OrgName } from '../../identity/names.js';

/** What a key says: yes, or no. */
export type Choice = 'approve' | 'reject';

/** A vote, as far as counting goes. Its signature was verified with the key. */
export interface CountableVote {
  readonly org: OrgName;
  readonly keyId: string;
  readonly kind: Choice | 'withdraw';
  /** Of a withdrawal: what it takes back. */
  readonly withdraws: Choice | undefined;
  /** When the gateway that counts got it. */
  readonly receiveMs: number;
}

export type FinalState = 'approved' | 'rejected' | 'expired' | 'withdrawn';

/** How a proposal ended, once and for all. */
export interface Ended {
  readonly state: FinalState;
  /** How many votes there were then: those after them do not change what they found. */
  readonly votes: number;
}

/** Whether a vote counts. */
export interface VoteFinding {
  readonly counts: boolean;
  /** A sentence. Empty when it counts. */
  readonly whyNot: string;
  /** The approver's name in the organisation's record. Empty: the record does not name the key. */
  readonly approver: string;
}

export interface OrgFinding {
  readonly org: OrgName;
  readonly decision: 'none' | Choice;
  /** The keys whose approvals count, when it has approved: as many as it demands, each of another approver. */
  readonly countedKeys: readonly string[];
  /** Whether it has approved or still can. */
  readonly mayApprove: boolean;
}

export interface Judgement {
  readonly state: 'open' | FinalState;
  /** Why it is no longer open: a sentence. */
  readonly why: string;
  /** In the order of the proposal's list. */
  readonly orgs: readonly OrgFinding[];
  /** In the order of the votes. */
  readonly votes: readonly VoteFinding[];
  readonly approved: number;
  readonly rejected: number;
}
