import {
  ArtifactKind,
  type CastVote as CastVoteMessage,
  Decision,
  type GetBundleResponse,
  type ListApproversResponse_Org as OrgMessage,
  type Proposal as ProposalMessage,
  type Standing as StandingMessage,
  ProposalState as StateMessage,
  VoteKind,
} from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError, fieldError, quoted } from '../../errors.js';
import type {
  ApprovalBundle,
  CastVote,
  OrgApprovalKeys,
  Proposal,
  ProposalState,
  RegisteredKey,
  Standing,
} from './types.js';

/** What the SDK says and what the contract says, one into the other. */

const STATES: ReadonlyMap<StateMessage, Exclude<ProposalState, 'unknown'>> = new Map([
  [StateMessage.PROPOSAL_STATE_OPEN, 'open'],
  [StateMessage.PROPOSAL_STATE_APPROVED, 'approved'],
  [StateMessage.PROPOSAL_STATE_REJECTED, 'rejected'],
  [StateMessage.PROPOSAL_STATE_EXPIRED, 'expired'],
  [StateMessage.PROPOSAL_STATE_WITHDRAWN, 'withdrawn'],
]);

/** Throws FIELD_INVALID for one that is none. */
export function toState(state: ProposalState | undefined): StateMessage {
  if (state === undefined) return StateMessage.PROPOSAL_STATE_UNSPECIFIED;
  for (const [message, name] of STATES) if (name === state) return message;
  throw fieldError('state', `${quoted(state)} is none of ${[...STATES.values()].join(', ')}`);
}

export const stateName = (state: StateMessage): ProposalState => STATES.get(state) ?? 'unknown';

/** 16 bytes. Throws FIELD_INVALID. */
export function toProposalId(id: string): Buffer {
  if (!/^[0-9a-f]{32}$/.test(id)) throw fieldError('id', `${quoted(id)} is not a proposal's id (32 digits of 0-9 a-f)`);
  return Buffer.from(id, 'hex');
}

/** Throws FRAME_MALFORMED when the gateway left it out. */
export function toProposal(message: ProposalMessage | undefined): Proposal {
  if (!message) throw new FedgateError('FRAME_MALFORMED', 'the gateway left the proposal out of its answer');
  const { proposer, project, version, threshold, approved, rejected, note, links } = message;
  return {
    id: hex(message.id),
    statement: message.statement.length > 0 ? Buffer.from(message.statement) : undefined,
    statementSha256: hex(message.statementSha256),
    state: stateName(message.state),
    stateTimeMs: Number(message.stateTimeMs),
    proposer,
    project,
    version,
    sequence: Number(message.sequence),
    artifact: {
      name: message.artifactName,
      kind: message.kind === ArtifactKind.ARTIFACT_KIND_PACKAGE ? 'package' : 'file',
      size: Number(message.artifactSize),
      sha256: hex(message.artifactSha256),
      share: message.artifactShare,
      contentsShare: message.contentsShare || undefined,
    },
    threshold,
    approved,
    rejected,
    createTimeMs: Number(message.createTimeMs),
    notBeforeMs: Number(message.notBeforeMs),
    notAfterMs: Number(message.notAfterMs),
    note,
    links: [...links],
    standings: message.standings.map(toStanding),
    previousApprovedId: hex(message.previousApprovedId) || undefined,
  };
}

function toStanding({ org, decision, required, keyIds, votes, holds, refusal }: StandingMessage): Standing {
  return {
    org,
    decision:
      decision === Decision.DECISION_APPROVED
        ? 'approved'
        : decision === Decision.DECISION_REJECTED
          ? 'rejected'
          : undefined,
    required,
    keyIds: keyIds.map(hex),
    votes: votes.map(toVote),
    holds,
    refusal: refusal || undefined,
  };
}

const KINDS: ReadonlyMap<VoteKind, CastVote['kind']> = new Map([
  [VoteKind.VOTE_KIND_APPROVE, 'approve'],
  [VoteKind.VOTE_KIND_REJECT, 'reject'],
  [VoteKind.VOTE_KIND_WITHDRAW, 'withdraw'],
]);

const toVote = (vote: CastVoteMessage): CastVote => ({
  kind: KINDS.get(vote.kind) ?? 'unknown',
  keyId: hex(vote.keyId),
  approver: vote.approver || undefined,
  reason: vote.reason,
  receiveTimeMs: Number(vote.receiveTimeMs),
  counts: vote.counts,
  whyNot: vote.whyNot || undefined,
  receipts: [...vote.receipts],
});

export const toBundle = ({ proposalId, artifactName, dsse, sigstore, jsonl }: GetBundleResponse): ApprovalBundle => ({
  proposalId: hex(proposalId),
  artifactName,
  dsse,
  sigstore: sigstore.map(({ org, keyId, bundle }) => ({ org, keyId: hex(keyId), bundle })),
  jsonl,
});

export const toOrgKeys = ({ org, required, keys }: OrgMessage): OrgApprovalKeys => ({
  org,
  required,
  keys: keys.map(
    ({ name, keyId, publicKey, addTimeMs, revokeTimeMs, compromised }): RegisteredKey => ({
      name,
      keyId: hex(keyId),
      publicKey: Buffer.from(publicKey),
      addTimeMs: Number(addTimeMs),
      revocation: revokeTimeMs > 0n ? { timeMs: Number(revokeTimeMs), compromised } : undefined,
    }),
  ),
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
