import { escapeControls } from './text.js';

/**
 * Every way fedgate says no.
 *
 * A reason is what a program acts on; the message is for people. `docs/errors.md` is generated from this table and a test
 * compares the two. Only `transport/status.ts` knows how a reason travels over gRPC.
 */

/** The gRPC status names in use (https://grpc.io/docs/guides/status-codes/). */
export type StatusName =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'UNAUTHENTICATED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'DATA_LOSS'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'
  | 'CANCELLED';

interface ReasonFacts {
  readonly status: StatusName;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** What it means and what to do, for `docs/errors.md`. */
  readonly help: string;
}

const facts = <const R extends { readonly [reason: string]: ReasonFacts }>(table: R): R => table;
const reason = (status: StatusName, help: string): ReasonFacts => ({ status, help, retryable: false });
const retryable = (status: StatusName, help: string): ReasonFacts => ({ status, help, retryable: true });

export const REASONS = facts({
  FIELD_INVALID: reason(
    'INVALID_ARGUMENT',
    'A field of the request breaks its rules. The detail names the field and the rule.',
  ),
  FRAME_MALFORMED: reason(
    'INVALID_ARGUMENT',
    'Bytes that are not the message they should be. Check the client library.',
  ),
  FRAME_UNEXPECTED: reason('INVALID_ARGUMENT', 'A frame that may not come at this point of the stream.'),
  FRAME_TOO_LARGE: reason('RESOURCE_EXHAUSTED', 'A record, frame or batch over the stated limit. Split it.'),
  CERTIFICATE_MISSING: reason(
    'UNAUTHENTICATED',
    'The caller showed no certificate, nor, where that is taken in its place, a bearer token.',
  ),
  CERTIFICATE_UNTRUSTED: reason(
    'UNAUTHENTICATED',
    "The caller's certificate is not signed by a CA that counts here, or names someone else's organisation.",
  ),
  CERTIFICATE_EXPIRED: reason(
    'UNAUTHENTICATED',
    'The certificate is past its end, or not yet valid. Issue a new one; check the clock.',
  ),
  CERTIFICATE_REVOKED: reason(
    'UNAUTHENTICATED',
    'The organisation took this one certificate back. If it is yours, ask for a new one; if you did not know, somebody else may have had the key.',
  ),
  CERTIFICATE_ROLE: reason(
    'PERMISSION_DENIED',
    'A good certificate of the wrong kind: a gateway on the node port, a node on the peer port.',
  ),
  TOKEN_INVALID: reason(
    'UNAUTHENTICATED',
    'The bearer token is not believed. `why` in the metadata says in which respect; nothing out of the token is repeated.',
  ),
  TOKEN_EXPIRED: retryable(
    'UNAUTHENTICATED',
    'The bearer token is past its end. Get another one; the SDK asks its token source and goes on.',
  ),
  TOKEN_UNAVAILABLE: retryable(
    'UNAVAILABLE',
    "The program's own token source, as given to the SDK, fails or gives what is no token. It is asked again.",
  ),
  AUTHENTICATOR_UNAVAILABLE: retryable(
    'UNAVAILABLE',
    "The keys of the token's issuer cannot be had, or the operator's module does not answer in time. Nobody is let in unproven.",
  ),
  POLICY_DENIED: reason(
    'PERMISSION_DENIED',
    "The operator's policy does not allow it. Its own words are in the message, and in `explanation` of the metadata.",
  ),
  POLICY_UNAVAILABLE: retryable(
    'UNAVAILABLE',
    "The operator's policy server does not answer, or not in time. What it must allow is refused until it does.",
  ),
  IDENTITY_MISMATCH: reason(
    'PERMISSION_DENIED',
    'A message claims another organisation, gateway or node than the connection proves. A security event.',
  ),
  SIGNATURE_INVALID: reason(
    'PERMISSION_DENIED',
    'A signature does not match what it is said to sign. A security event.',
  ),
  REPLAYED: reason(
    'PERMISSION_DENIED',
    'Something that was already used: a batch, a challenge, a record. A security event.',
  ),
  WRONG_RECIPIENT: reason('PERMISSION_DENIED', 'A batch for another organisation. Gateways do not relay.'),
  NOT_GRANTED: reason(
    'PERMISSION_DENIED',
    'The configuration of the gateway that answers does not grant this. Ask its operator.',
  ),
  CHANNEL_RESERVED: reason('PERMISSION_DENIED', 'Channels that begin with `$` belong to fedgate itself.'),
  ORG_INACTIVE: reason('PERMISSION_DENIED', "The organisation is suspended or removed. Ask the federation's operator."),
  ORG_UNKNOWN: reason('NOT_FOUND', 'No member of the federation has that name.'),
  GROUP_UNKNOWN: reason(
    'NOT_FOUND',
    "Neither the gateway's configuration (`groups`) nor the record of the organisation has a group of that name.",
  ),
  GROUP_CONSENT_MISSING: reason(
    'PERMISSION_DENIED',
    "A group in an organisation's record names a member that does not consent to it. It may, with `fedgate org group consent`.",
  ),
  PEER_UNREACHABLE: retryable(
    'UNAVAILABLE',
    'There is no link to the other organisation at the moment. `fedgate doctor ORG` finds out why.',
  ),
  GATEWAY_UNREACHABLE: retryable('UNAVAILABLE', "The program cannot reach its own organisation's gateway."),
  REGISTRY_UNREACHABLE: retryable(
    'UNAVAILABLE',
    'The registry does not answer. Known organisations stay reachable as long as the snapshot lives.',
  ),
  OUTCOME_UNKNOWN: retryable(
    'UNAVAILABLE',
    'The connection ended before the answer: the records may or may not have been delivered.',
  ),
  DRAINING: retryable('UNAVAILABLE', 'The gateway is about to stop. Connect again.'),
  LIMIT_REACHED: retryable(
    'RESOURCE_EXHAUSTED',
    'A cap on something that may not grow without bound. The detail names it.',
  ),
  LINK_SUPERSEDED: retryable(
    'ABORTED',
    'The two gateways already have a link, or made a better one at the same moment. Nothing to do.',
  ),
  VERSION_UNSUPPORTED: reason(
    'FAILED_PRECONDITION',
    'The two gateways share no version of the link protocol. Update the older one.',
  ),
  FEDERATION_MISMATCH: reason('FAILED_PRECONDITION', 'The other side belongs to another federation.'),
  SNAPSHOT_STALE: reason(
    'FAILED_PRECONDITION',
    'The registry answered with an older snapshot than the one at hand. A security event; the newer one is kept.',
  ),
  SNAPSHOT_FORKED: reason(
    'FAILED_PRECONDITION',
    'The registry signed two different things under one version. A security event; the first is kept.',
  ),
  SNAPSHOT_EXPIRED: retryable(
    'FAILED_PRECONDITION',
    'No snapshot is good any more, so nobody can be identified. Bring the registry back.',
  ),
  SNAPSHOT_INVALID: reason(
    'FAILED_PRECONDITION',
    'A snapshot that is not well-formed or not signed by the registry. A security event; the last good one is kept.',
  ),
  INVITATION_MALFORMED: reason(
    'INVALID_ARGUMENT',
    'The text is not a whole invitation code. Copy it again, all of it.',
  ),
  INVITATION_UNKNOWN: reason('NOT_FOUND', 'This registry never made that invitation, or a newer one replaced it.'),
  INVITATION_USED: reason('FAILED_PRECONDITION', 'The invitation was used. Ask for a new one.'),
  INVITATION_EXPIRED: reason('FAILED_PRECONDITION', 'The invitation is past its end. Ask for a new one.'),
  REGISTRY_UNTRUSTED: reason(
    'UNAUTHENTICATED',
    'Whoever answers at the registry address does not have the certificate that was promised.',
  ),
  PROOF_INVALID: reason('UNAUTHENTICATED', 'The proof of possession of the CA key does not hold.'),
  CA_ALREADY_REGISTERED: reason(
    'ALREADY_EXISTS',
    'That CA key belongs to another member. Every organisation makes its own.',
  ),
  ORG_EXISTS: reason('ALREADY_EXISTS', 'The name is taken, or was once. Names are not given twice.'),
  ORG_REMOVED: reason('FAILED_PRECONDITION', 'The organisation was removed, which is for ever.'),
  RECORD_INVALID: reason(
    'INVALID_ARGUMENT',
    "An organisation's record that is not well-formed or not signed by its CA.",
  ),
  RECORD_STALE: reason(
    'ABORTED',
    'A record with a sequence number that is not higher than the stored one. Read it again, and sign a new one.',
  ),
  CONFIG_INVALID: reason(
    'FAILED_PRECONDITION',
    'The configuration breaks its rules. The message names file, line, key and what was expected.',
  ),
  FILE_UNUSABLE: reason(
    'FAILED_PRECONDITION',
    'A file that is needed is missing, unreadable or not what it should be.',
  ),
  KEY_EXPOSED: reason(
    'FAILED_PRECONDITION',
    'A private key that other users of the machine can read. `chmod 600` it, and consider it leaked.',
  ),
  ADDRESS_UNUSABLE: reason(
    'FAILED_PRECONDITION',
    'A listener cannot have its address: in use, not allowed, or not of this machine.',
  ),
  CONTEXT_UNKNOWN: reason(
    'FAILED_PRECONDITION',
    'No context of that name, or none chosen. `fedgate context list` shows what there is.',
  ),
  FEATURE_UNSUPPORTED: reason('UNIMPLEMENTED', 'Understood, but this version does not do it.'),
  STORE_FULL: retryable(
    'RESOURCE_EXHAUSTED',
    "The gateway's disk is full, or nearly. Nothing new is stored until there is room; what is stored goes on being delivered.",
  ),
  STORE_READ_ONLY: retryable(
    'UNAVAILABLE',
    "The gateway's disk cannot be written to. Nothing new is stored until it can.",
  ),
  STORE_FAILED: retryable(
    'UNAVAILABLE',
    "Writing to the gateway's disk failed. The log says how; what was acknowledged before is safe.",
  ),
  STORE_LOCKED: reason(
    'FAILED_PRECONDITION',
    'Another process uses this store. Stop it first, or wait until it has ended.',
  ),
  STORE_DAMAGED: reason(
    'FAILED_PRECONDITION',
    'The store cannot be opened. `fedgate store verify` says what is wrong; `fedgate store restore` brings a backup back.',
  ),
  BODY_UNREADABLE: reason(
    'DATA_LOSS',
    'A stored batch is not what was written. It is taken out, and fetched again from its origin where possible.',
  ),
  OUTBOX_FULL: retryable(
    'RESOURCE_EXHAUSTED',
    'So much waits for that organisation that no more is taken. Publish again later; `fedgate outbox show ORG` says why it waits.',
  ),
  INBOX_FULL: retryable(
    'RESOURCE_EXHAUSTED',
    'The log holds as much unconsumed as it may. `fedgate subs list` shows which subscription is behind.',
  ),
  ACK_TIMEOUT: retryable(
    'DEADLINE_EXCEEDED',
    'The records are stored and will be sent, but the level asked for was not reached in time. `level` in the metadata names the one that was.',
  ),
  SEQUENCE_GAP: reason(
    'FAILED_PRECONDITION',
    'A producer sequence that is too high. `expected` in the metadata names the next one.',
  ),
  PRODUCER_FENCED: reason('ABORTED', 'A newer epoch of this producer has published. This one is over.'),
  PURGED: reason('ABORTED', "The gateway's operator purged the records before they were sent."),
  EXPIRED: reason(
    'ABORTED',
    'The time to live of the records was over before they arrived, or that of a stored request before it was answered.',
  ),
  REQUEST_UNKNOWN: reason(
    'NOT_FOUND',
    'The node has no stored request of that id: it never had, or its answer was acknowledged or kept long enough.',
  ),
  REQUEST_OPEN: reason('FAILED_PRECONDITION', 'The stored request has not ended: there is nothing to acknowledge.'),
  DEAD_LETTERED: reason(
    'ABORTED',
    'The other organisation gave the records up. `fedgate dead list` shows them with the reason.',
  ),
  WATERMARK_INVALID: reason(
    'PERMISSION_DENIED',
    'A gateway claims to have received what was never sent, or forgot what it gave receipts for. A security event; the link is closed.',
  ),
  RECEIPT_INVALID: reason(
    'PERMISSION_DENIED',
    'A receipt that does not fit what was sent. A security event; the link is closed.',
  ),
  CREDIT_EXCEEDED: reason('RESOURCE_EXHAUSTED', 'A gateway sent more than it was allowed to. The link is closed.'),
  SUBSCRIPTION_UNKNOWN: reason(
    'NOT_FOUND',
    'No durable subscription has that name. `fedgate subs list` shows those there are.',
  ),
  SUBSCRIPTION_BUSY: retryable('FAILED_PRECONDITION', 'Another node consumes the subscription, and it is no group.'),
  SUBSCRIPTION_TAKEN: reason('ABORTED', 'Another stream of the same node took the subscription over.'),
  SUBSCRIPTION_MOVED: retryable(
    'UNAVAILABLE',
    'The subscription was moved to another place. Consume again: it goes on there.',
  ),
  SUBSCRIPTION_MISMATCH: reason(
    'FAILED_PRECONDITION',
    'The subscription exists and is another: its pattern or kind differs. Choose another name, or delete it.',
  ),
  POSITION_UNAVAILABLE: reason(
    'OUT_OF_RANGE',
    'That offset is not in the log. `oldest` and `end` in the metadata say what is.',
  ),
  DEAD_LETTER_UNKNOWN: reason('NOT_FOUND', 'No dead letter has that number.'),
  EVIDENCE_INVALID: reason(
    'FAILED_PRECONDITION',
    'An evidence file that does not prove what it says. The message names the line and what is wrong.',
  ),
  SHARE_UNKNOWN: reason(
    'NOT_FOUND',
    'There is no such share, or it is not for the caller: the answer is the same. Ask who shared it.',
  ),
  SHARE_ENDED: reason(
    'FAILED_PRECONDITION',
    'The share expired, was ended by its owner, or was fetched as often as allowed. `why` in the metadata says which.',
  ),
  APPROVAL_MISSING: reason(
    'FAILED_PRECONDITION',
    'The share may be fetched only once its content is approved, and no approval is known.',
  ),
  APPROVER_KEY_INVALID: reason(
    'INVALID_ARGUMENT',
    'An approval key that is not ECDSA on P-256 or Ed25519, is encoded in another way, or is one with which anybody could sign.',
  ),
  APPROVER_KEY_TAKEN: reason(
    'ALREADY_EXISTS',
    'That approval key belongs to another approver or member, or is the key of a CA. Everybody makes their own.',
  ),
  APPROVER_UNKNOWN: reason(
    'FAILED_PRECONDITION',
    'A key that may not vote here: not registered, revoked, or not named by the proposal; or an organisation without enough keys.',
  ),
  SIGNER_FAILED: reason(
    'FAILED_PRECONDITION',
    'The key file, token or command that was to sign did not, or signed with another key.',
  ),
  STATEMENT_INVALID: reason(
    'INVALID_ARGUMENT',
    'Bytes that are not a statement of fedgate in its one form. The message says what is wrong.',
  ),
  PROPOSAL_UNKNOWN: reason(
    'NOT_FOUND',
    'This gateway holds no such proposal. `fedgate proposals list` shows those it holds.',
  ),
  PROPOSAL_CLOSED: reason(
    'FAILED_PRECONDITION',
    'The proposal is approved, rejected, expired or withdrawn. `state` in the metadata says which.',
  ),
  PROPOSAL_STALE: reason(
    'ABORTED',
    'A proposal whose sequence is not higher than that of an earlier one of its project.',
  ),
  PROPOSAL_FORKED: reason(
    'PERMISSION_DENIED',
    'Two different statements under one proposal id. A security event; the first is kept.',
  ),
  VOTE_INVALID: reason(
    'INVALID_ARGUMENT',
    'A vote that does not fit the proposal: another statement, artifact, organisation or time.',
  ),
  VOTE_FINAL: reason(
    'FAILED_PRECONDITION',
    'This key has voted on the proposal already. While it is open the vote can be withdrawn, and the other one cast.',
  ),
  NOT_APPROVED: reason(
    'FAILED_PRECONDITION',
    'Not approved, as the policy or the gateway counts. The message says who counted, who did not, and why.',
  ),
  ARTIFACT_MISMATCH: reason(
    'DATA_LOSS',
    'A file is not the one that the proposal names: another size or SHA-256, or one too many or too few in a package. Whoever shared it has changed it.',
  ),
  BUNDLE_INVALID: reason('INVALID_ARGUMENT', 'A bundle that is not one, or whose parts do not belong together.'),
  POLICY_INVALID: reason(
    'FAILED_PRECONDITION',
    'The policy is missing, unreadable, empty, older than one that was used before, expired, or breaks its rules. Nothing is verified without one.',
  ),
  LOG_FORKED: reason(
    'PERMISSION_DENIED',
    'Two logs of approvals that contradict each other, or one whose chain is broken. A security event.',
  ),
  UPLOAD_UNKNOWN: reason('NOT_FOUND', 'Nothing of that upload was committed, or it was removed. Begin it again.'),
  UPLOAD_TAKEN: reason('ABORTED', 'Another call goes on with the same upload. This one is over.'),
  UPLOAD_MISMATCH: reason(
    'FAILED_PRECONDITION',
    'The upload was begun with another size, name or audience. Cancel it, or draw another upload id.',
  ),
  OFFSET_INVALID: reason(
    'OUT_OF_RANGE',
    'A chunk or range that does not begin where it may, or ends beyond the content. `committedSize` or `size` in the metadata says where.',
  ),
  FILES_FULL: retryable(
    'RESOURCE_EXHAUSTED',
    'The space for a file cannot be reserved: a quota of the gateway, or its disk. The detail names it.',
  ),
  FILE_DAMAGED: reason('DATA_LOSS', 'A stored piece is not what was written. It is taken out; share the file again.'),
  FILE_CHANGED: reason('ABORTED', 'The file changed while it was being shared or fetched. Begin again.'),
  MANIFEST_INVALID: reason(
    'PERMISSION_DENIED',
    'A manifest that breaks its rules or does not fit its digests. A security event when another gateway sent it.',
  ),
  PIECE_MISMATCH: reason('DATA_LOSS', 'A piece of a file that is not what the manifest says. It was thrown away.'),
  TRANSFER_STALLED: retryable(
    'DEADLINE_EXCEEDED',
    'No byte moved for so long that the transfer was ended. Go on from where it stopped.',
  ),
  NO_ACCEPTORS: retryable(
    'UNAVAILABLE',
    'Nobody accepts byte streams on that channel at the moment, or nobody took the one that was offered in time.',
  ),
  STREAM_REFUSED: reason(
    'ABORTED',
    'The node that the byte stream was offered to did not want it. The message is its own.',
  ),
  STREAM_RESET: reason('ABORTED', 'The other end broke the byte stream off. The message is its own.'),
  STREAM_LOST: reason(
    'ABORTED',
    'The other end of a byte stream, or a gateway or link on the way, went away and was not back in time. How much arrived is not known.',
  ),
  STREAM_UNKNOWN: reason('NOT_FOUND', 'No byte stream has that token, or it is over.'),
  NO_RESPONDERS: retryable(
    'UNAVAILABLE',
    'Nobody answers on that channel at the moment. Nobody got the request; ask again later.',
  ),
  RESPONDER_GONE: reason(
    'ABORTED',
    'Whoever got the request went away before it had answered, and nobody else may have it. It may have been carried out.',
  ),
  APPLICATION_ERROR: reason(
    'ABORTED',
    "The responder's own error; fedgate did its part. Code, message and details are in the detail `ApplicationError`.",
  ),
  DEADLINE_EXCEEDED: retryable(
    'DEADLINE_EXCEEDED',
    'The time allowed for the call is over. It may have been carried out.',
  ),
  CANCELLED: reason('CANCELLED', 'The caller gave up.'),
  INTERNAL: reason('INTERNAL', 'A defect of fedgate. The log holds the cause under the request id of the detail.'),
});

export type Reason = keyof typeof REASONS;

export const isReason = (text: string): text is Reason => Object.hasOwn(REASONS, text);

/** A broken rule of one field: `field` is its path in the request. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** What a responder said instead of a reply: chosen by it, and told apart from fedgate's own errors. */
export interface ApplicationErrorFacts {
  readonly code: string;
  readonly message: string;
  readonly details: Uint8Array;
}

export interface FedgateErrorOptions {
  readonly cause?: unknown;
  /** With APPLICATION_ERROR. */
  readonly application?: ApplicationErrorFacts;
  /** Everything variable that stands in the message. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fields?: readonly FieldViolation[];
  /** When trying again makes sense, milliseconds from now. */
  readonly retryAfterMs?: number;
}

const BRAND = Symbol.for('fedgate.error');

/** The one error class. `instanceof` also holds for errors of another copy of this package. */
export class FedgateError extends Error {
  override readonly name = 'FedgateError';
  readonly [BRAND] = true;
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fields: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;
  readonly application: ApplicationErrorFacts | undefined;

  constructor(reason: Reason, message: string, options: FedgateErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.metadata = options.metadata ?? {};
    this.fields = options.fields ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.application = options.application;
  }

  get status(): StatusName {
    return REASONS[this.reason].status;
  }

  /** Whether the same call may succeed later without anybody changing anything. */
  get retryable(): boolean {
    return REASONS[this.reason].retryable;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && BRAND in value;
  }
}

/** FIELD_INVALID for one field, worded `field: description`. */
export function fieldError(field: string, description: string): FedgateError {
  return new FedgateError('FIELD_INVALID', `${field}: ${description}`, { fields: [{ field, description }] });
}

/** Names what was thrown, in one line, for messages and logs. */
export function describe(error: unknown): string {
  if (error instanceof Error) return error.message;
  return String(error);
}

/** A value out of a request, made safe to stand in a message: in quotes, control characters escaped, cut at 80 characters. */
export function quoted(value: string): string {
  const cut = value.length > 80 ? `${value.slice(0, 80)}…` : value;
  return escapeControls(JSON.stringify(cut));
}
