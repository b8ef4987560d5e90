import { FedgateError, type Reason, type StatusName } from '../errors.js';

/** What the process ends with. `fedgate --help` and docs/cli.md list them; a test compares. */
export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  nothingThere: 5,
  limit: 6,
  checkFailed: 7,
  damaged: 8,
  notApproved: 9,
  policyMissing: 10,
  applicationError: 11,
  interrupted: 130,
} as const;

export const EXIT_HELP: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.unexpected, 'a defect of fedgate, or something nobody foresaw'],
  [EXIT.usage, 'wrong arguments, bad input, a bad configuration or file'],
  [EXIT.unreachable, 'a gateway, peer or registry could not be reached'],
  [EXIT.refused, 'refused: not granted, or not believed to be who it says'],
  [EXIT.nothingThere, 'no such thing, or nobody was there to receive'],
  [EXIT.limit, 'a limit or quota was reached'],
  [EXIT.checkFailed, 'a check that was asked for did not pass'],
  [EXIT.damaged, 'what was stored or sent is not what it was, or not what its digest says'],
  [EXIT.notApproved, 'not approved by those whose approval is demanded'],
  [EXIT.policyMissing, 'the policy to verify by is missing, empty or no good'],
  [EXIT.applicationError, 'whoever was asked answered with an error of its own'],
  [EXIT.interrupted, 'interrupted (Ctrl-C); what was done until then is reported'],
];

const BY_STATUS: { readonly [status in StatusName]: number } = {
  INVALID_ARGUMENT: EXIT.usage,
  FAILED_PRECONDITION: EXIT.usage,
  NOT_FOUND: EXIT.nothingThere,
  ALREADY_EXISTS: EXIT.usage,
  ABORTED: EXIT.usage,
  PERMISSION_DENIED: EXIT.refused,
  UNAUTHENTICATED: EXIT.refused,
  RESOURCE_EXHAUSTED: EXIT.limit,
  UNIMPLEMENTED: EXIT.usage,
  UNAVAILABLE: EXIT.unreachable,
  DEADLINE_EXCEEDED: EXIT.unreachable,
  CANCELLED: EXIT.interrupted,
  OUT_OF_RANGE: EXIT.usage,
  DATA_LOSS: EXIT.damaged,
  INTERNAL: EXIT.unexpected,
};

/** Where the status says too little of what a script would do. */
const BY_REASON: { readonly [reason in Reason]?: number } = {
  SHARE_ENDED: EXIT.nothingThere,
  APPROVAL_MISSING: EXIT.refused,
  MANIFEST_INVALID: EXIT.damaged,
  NOT_APPROVED: EXIT.notApproved,
  POLICY_INVALID: EXIT.policyMissing,
  APPROVER_UNKNOWN: EXIT.refused,
  NO_RESPONDERS: EXIT.nothingThere,
  RESPONDER_GONE: EXIT.unreachable,
  APPLICATION_ERROR: EXIT.applicationError,
  NO_ACCEPTORS: EXIT.nothingThere,
  STREAM_REFUSED: EXIT.applicationError,
  STREAM_RESET: EXIT.applicationError,
  STREAM_LOST: EXIT.unreachable,
};

/** Of several outcomes the one that a script should hear of: what is least likely to pass by itself comes first. */
export const WORST_FIRST: readonly number[] = [
  EXIT.unexpected,
  EXIT.damaged,
  EXIT.usage,
  EXIT.refused,
  EXIT.limit,
  EXIT.unreachable,
  EXIT.nothingThere,
];

export const worstOf = (codes: readonly number[]): number => WORST_FIRST.find(code => codes.includes(code)) ?? EXIT.ok;

export const exitCodeOf = (error: unknown): number =>
  error instanceof FedgateError ? (BY_REASON[error.reason] ?? BY_STATUS[error.status]) : EXIT.unexpected;
