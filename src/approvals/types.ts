import type { Proposal } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { ApprovalKey } from '../identity/approval-key.js';
import type { Approver } from '../identity/approver.js';
import type { OrgName } from '../identity/names.js';
import type { Change } from '../store/store.js';

/** What the parts of approvals know of each other. */

// ---- what is signed ---------------------------------------------------------------------------------------------------------------

/** DSSE's type of a payload that is an in-toto statement. */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
/** Names, not places: nothing is ever fetched from there. */
export const PREDICATE_TYPES = {
  approval: 'https://fedgate.dev/approval/v1',
  rejection: 'https://fedgate.dev/approval-rejection/v1',
  withdrawal: 'https://fedgate.dev/approval-withdrawal/v1',
} as const;

export type ArtifactKind = 'file' | 'package';

export interface Artifact {
  /** A plain file name; display only. */
  readonly name: string;
  readonly kind: ArtifactKind;
  /** Bytes. Of a package: of its checksum list. */
  readonly size: number;
  /** SHA-256, lower-case hexadecimal, as all digests here that are text. */
  readonly sha256: string;
}

/** One organisation in the list of approvers. */
export interface ApproverOrg {
  readonly org: OrgName;
  /** `<org in lower case>.<federation domain>`. */
  readonly trustDomain: string;
  /** How many different approvers of its own must approve. At least 1. */
  readonly required: number;
  /** Ids of the keys that may vote for it. */
  readonly keyIds: readonly string[];
}

/** What a proposal says: everything that its approvers sign. */
export interface ProposalFacts {
  /** 16 bytes, lower-case hexadecimal. */
  readonly id: string;
  readonly federation: string;
  readonly project: string;
  readonly version: string;
  /** Rises with each proposal of (proposer, project). At least 1. */
  readonly sequence: number;
  readonly artifact: Artifact;
  readonly proposer: OrgName;
  /** Sorted by name. */
  readonly approvers: readonly ApproverOrg[];
  readonly threshold: number;
  readonly createdMs: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly note: string;
  readonly links: readonly string[];
}

/** A no, or the taking back of an earlier vote by the same key, about the proposal whose statement has this digest. */
export interface ReplyFacts {
  readonly proposalId: string;
  readonly federation: string;
  readonly org: OrgName;
  readonly artifact: Pick<Artifact, 'name' | 'sha256'>;
  readonly statementSha256: string;
  readonly reason: string;
  readonly timeMs: number;
}

export type Statement =
  | { readonly kind: 'approval'; readonly proposal: ProposalFacts }
  | { readonly kind: 'rejection'; readonly reply: ReplyFacts }
  /** `withdraws`: which of the key's votes. */
  | { readonly kind: 'withdrawal'; readonly reply: ReplyFacts; readonly withdraws: 'approval' | 'rejection' };

/** A DSSE envelope. */
export interface Envelope {
  readonly payloadType: string;
  readonly payload: Buffer;
  readonly signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  /** A hint that may lie or be empty. */
  readonly keyId: string;
  readonly signature: Buffer;
}

/** Somebody's key at work: in a file, in a token, or behind a command. */
export interface Signer {
  readonly key: ApprovalKey;
  /** Rejects with SIGNER_FAILED. What is returned was verified with `key`. */
  sign(message: Buffer): Promise<Buffer>;
}

// ---- who may vote -----------------------------------------------------------------------------------------------------------------

export type { Approver };

/** The approvers of one member, as the registry has them. */
export interface OrgApprovers {
  readonly org: OrgName;
  /** Whether the member is active. The votes of one that is not do not count. */
  readonly active: boolean;
  readonly approvers: readonly Approver[];
  /** At least 1. */
  readonly required: number;
}

/** What a gateway knows of the members' approval keys. */
export interface ApproverDirectory {
  of(org: string): OrgApprovers | undefined;
  all(): Iterable<OrgApprovers>;
  /** Returns the way to stop that. */
  onChange(listener: () => void): () => void;
}

// ---- the book of a gateway --------------------------------------------------------------------------------------------------------

export interface ProposalDraft {
  readonly id: Buffer | undefined;
  readonly artifact: Artifact;
  readonly artifactShare: string;
  readonly contentsShare: string;
  /** SHA-256 of the files of a package; empty for a file. Their shares may be fetched once it is approved. */
  readonly files: readonly Buffer[];
  readonly project: string;
  readonly version: string;
  readonly orgs: readonly OrgName[];
  readonly threshold: number;
  /** 0: from now. */
  readonly notBeforeMs: number;
  /** 0: 14 days. */
  readonly notAfterMs: number;
  readonly note: string;
  readonly links: readonly string[];
}

export interface ProposalFilter {
  readonly state: Proposal['state'];
  /** Empty: all. */
  readonly proposer: string;
  readonly project: string;
}

/** Everything that a gateway knows of proposals. All that it promises is on stable storage. */
export interface ApprovalBook {
  /** Rejects with FIELD_INVALID, APPROVER_UNKNOWN, ORG_UNKNOWN, ORG_INACTIVE, LIMIT_REACHED, STORE_*. */
  propose(draft: ProposalDraft): Promise<Proposal>;
  /** A vote of the own organisation. Rejects with STATEMENT_INVALID, VOTE_INVALID, SIGNATURE_INVALID, APPROVER_UNKNOWN, PROPOSAL_UNKNOWN, PROPOSAL_CLOSED, VOTE_FINAL, STORE_*. */
  vote(envelope: Envelope): Promise<{ readonly proposal: Proposal; readonly duplicate: boolean }>;
  /** Rejects with PROPOSAL_UNKNOWN, PROPOSAL_CLOSED, NOT_GRANTED. */
  withdraw(id: Buffer, reason: string): Promise<Proposal>;
  /** Rejects with PROPOSAL_UNKNOWN, STORE_DAMAGED. */
  get(id: Buffer): Promise<Proposal>;
  /** Newest first. `last`: where the page ends, when there may be more. Rejects with FIELD_INVALID for a token that is none. */
  list(
    filter: ProposalFilter,
    after: Buffer | undefined,
    limit: number,
  ): Promise<{ readonly proposals: readonly Proposal[]; readonly last: Buffer | undefined }>;
  /** Open ones that match (one that is asked for by its id: whatever its state), then each again when it changes; ends with the signal. */
  watch(
    filter: Omit<ProposalFilter, 'state'> & { readonly id: Buffer | undefined },
    signal: AbortSignal,
  ): AsyncIterable<Proposal>;
  /** What has been counted of an approved proposal. Rejects with PROPOSAL_UNKNOWN, NOT_APPROVED. */
  approval(of: { readonly id: Buffer } | { readonly artifactSha256: Buffer }): Promise<CountedApproval>;
  /** Whether content with this digest is an approved artifact, or a file of an approved package. */
  isApproved(sha256: Buffer): Promise<boolean>;
  /** Entries from an index on, to the newest. */
  log(
    from: number,
    signal: AbortSignal,
  ): AsyncIterable<{ readonly index: number; readonly entry: Buffer; readonly hash: Buffer }>;
  /**
   * Takes what the gateway of another organisation says on the channel of approvals: it becomes part of a change that the caller commits in this
   * same turn, and is looked at once that is done. Throws LIMIT_REACHED when too much of that organisation waits.
   */
  receive(from: OrgName, exchanges: readonly Uint8Array[], change: Change): () => void;
  close(): Promise<void>;
}

/** A statement with the signatures that count: one for each approver that an organisation needs, sorted by organisation. */
export interface CountedApproval {
  readonly proposal: ProposalFacts;
  readonly statement: Buffer;
  readonly signatures: readonly { readonly org: OrgName; readonly key: ApprovalKey; readonly signature: Buffer }[];
}
