import type { ProposalFacts, Signer } from '../../approvals/types.js';

export type { ApprovalKey } from '../../identity/approval-key.js';
export type { ProposalFacts, Signer };

/** `approved`, `rejected`, `expired` and `withdrawn` are final. */
export type ProposalState = 'open' | 'approved' | 'rejected' | 'expired' | 'withdrawn' | 'unknown';

/** What is proposed for approval, by SHA-256. */
export interface ProposedArtifact {
  /** To be shown: chosen by whoever proposed it, and never a path. */
  readonly name: string;
  /** A package is proposed by its checksum list, lines as `sha256sum` writes them. */
  readonly kind: 'file' | 'package';
  /** Bytes; of a package those of its list. */
  readonly size: number;
  /** In hexadecimal, as all digests and ids here. */
  readonly sha256: string;
  /** Where it can be fetched. Not part of what is signed: what is fetched counts only when its digest is right. */
  readonly share: string;
  /** For a package: the share of its folder. */
  readonly contentsShare: string | undefined;
}

/** A proposal, as the own gateway knows it. */
export interface Proposal {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** The statement that approvers sign, byte for byte. Undefined in lists. */
  readonly statement: Buffer | undefined;
  readonly statementSha256: string;
  readonly state: ProposalState;
  /** Since when. */
  readonly stateTimeMs: number;
  readonly proposer: string;
  readonly project: string;
  readonly version: string;
  /** Rises with each proposal of the proposer's project. */
  readonly sequence: number;
  readonly artifact: ProposedArtifact;
  /** How many organisations must approve. */
  readonly threshold: number;
  /** How many have, as the own gateway counts. */
  readonly approved: number;
  readonly rejected: number;
  readonly createTimeMs: number;
  /** From when and until when votes count. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly note: string;
  readonly links: readonly string[];
  /** Every organisation that may approve, in the order of their names. Without votes in lists. */
  readonly standings: readonly Standing[];
  /** The last approved proposal of the project before it, as the own gateway knows. Undefined: none; and in lists. */
  readonly previousApprovedId: string | undefined;
}

/** How one organisation stands to a proposal. */
export interface Standing {
  readonly org: string;
  /** Undefined: nothing yet. */
  readonly decision: 'approved' | 'rejected' | undefined;
  /** How many of its own approvers must approve. */
  readonly required: number;
  /** Keys that may vote for it. */
  readonly keyIds: readonly string[];
  /** In the order in which the own gateway got them. */
  readonly votes: readonly CastVote[];
  /** Whether its gateway said that it holds the proposal. */
  readonly holds: boolean;
  /** Why its gateway does not take the proposal. Undefined: it did not say so. */
  readonly refusal: string | undefined;
}

export interface CastVote {
  readonly kind: 'approve' | 'reject' | 'withdraw' | 'unknown';
  readonly keyId: string;
  /** The approver's name in the record of the organisation. Undefined: the record does not name the key. */
  readonly approver: string | undefined;
  /** Of rejections and withdrawals. */
  readonly reason: string;
  /** When the own gateway got it: this time decides. */
  readonly receiveTimeMs: number;
  readonly counts: boolean;
  /** Why it does not. */
  readonly whyNot: string | undefined;
  /** Organisations whose gateways gave signed receipts for it. */
  readonly receipts: readonly string[];
}

export interface ProposeOptions {
  /** The share of the artifact: complete, of the own organisation, and for all of `orgs`. */
  readonly artifactShare: string;
  /** For a package: the share of its folder; `artifactShare` is then that of its checksum list. */
  readonly contentsShare?: string | undefined;
  /** A plain file name, at most 255 bytes. */
  readonly artifactName: string;
  readonly project: string;
  readonly version: string;
  /** The organisations that may approve: 1 to 64. */
  readonly orgs: readonly string[];
  /** How many of them must. */
  readonly threshold: number;
  /** From when votes count, epoch milliseconds. @default from now */
  readonly notBeforeMs?: number | undefined;
  /** Until when. @default 14 days */
  readonly notAfterMs?: number | undefined;
  readonly note?: string | undefined;
  readonly links?: readonly string[] | undefined;
  /** 16 random bytes: a repeated call with the same id makes no second proposal. @default drawn by the gateway */
  readonly proposalId?: Uint8Array | undefined;
}

export interface ProposalSelection {
  readonly proposer?: string | undefined;
  readonly project?: string | undefined;
}

export interface ListProposalsOptions extends ProposalSelection {
  readonly state?: Exclude<ProposalState, 'unknown'> | undefined;
}

export interface WatchProposalsOptions extends ProposalSelection {
  /** Only this one, which is then told whatever its state. */
  readonly id?: string | undefined;
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal | undefined;
}

export interface VoteOptions {
  /**
   * The SHA-256 of the statement that was reviewed: whatever else the gateway now shows under that id is not signed. Leave it out only where nobody
   * has looked at the proposal before.
   */
  readonly statementSha256?: string | undefined;
}

export interface VoteResult {
  /** With the vote. */
  readonly proposal: Proposal;
  /** The same vote was there already. */
  readonly duplicate: boolean;
}

/** The same signatures in three forms, for those who verify offline. */
export interface ApprovalBundle {
  readonly proposalId: string;
  /** To be shown: chosen by whoever proposed it. */
  readonly artifactName: string;
  /** One DSSE envelope with all signatures that count, JSON. */
  readonly dsse: string;
  /** A Sigstore bundle for each signature, JSON. */
  readonly sigstore: readonly { readonly org: string; readonly keyId: string; readonly bundle: string }[];
  /** Envelopes with one signature each, one per line. */
  readonly jsonl: string;
}

/** The approval keys of an organisation, as its signed record names them. */
export interface OrgApprovalKeys {
  readonly org: string;
  /** How many of its own approvers must approve. */
  readonly required: number;
  /** With those that were revoked. */
  readonly keys: readonly RegisteredKey[];
}

export interface RegisteredKey {
  readonly name: string;
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly addTimeMs: number;
  /** Undefined: it is good. */
  readonly revocation: { readonly timeMs: number; readonly compromised: boolean } | undefined;
}

/** An entry of the gateway's log of approvals. */
export interface ApprovalLogEntry {
  /** The first has 1. */
  readonly index: number;
  /** A serialised fedgate.approvals.v1.LogEntry: the bytes that are hashed. */
  readonly entry: Buffer;
  /** SHA-256 over `fedgate/approval-log/v1` LF, the hash of the entry before (32 zero bytes before the first), and `entry`. */
  readonly hash: Buffer;
}
