import {
  ArtifactKind,
  type Envelope as EnvelopeMessage,
  type ListProposalsResponse,
  ApprovalServiceService as methods,
} from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { Envelope, Signer } from '../../approvals/types.js';
import { FedgateError, fieldError } from '../../errors.js';
import { callServerStream, callUnary } from '../../transport/client-calls.js';
import { checkId, checkWhole } from '../files/convert.js';
import { approval, type CheckedStatement, checkedStatement, rejection, standingVote, withdrawal } from './ballot.js';
import { toBundle, toOrgKeys, toProposal, toProposalId, toState } from './convert.js';
import type {
  ApprovalBundle,
  ApprovalLogEntry,
  ListProposalsOptions,
  OrgApprovalKeys,
  Proposal,
  ProposeOptions,
  VoteOptions,
  VoteResult,
  WatchProposalsOptions,
} from './types.js';
import { type ApprovalsHost, watchProposals } from './watch.js';

/** For calls whose work does not grow with what is stored, milliseconds. */
const QUICK = { timeoutMs: 10_000 };
/** For those that read a package's list, milliseconds. */
const PROPOSE = { timeoutMs: 60_000 };

/**
 * Approval of code by several organisations: proposals, votes and the proof. For nodes that are granted `approvals`. Approval keys never leave the
 * signer that is given: no gateway has them.
 *
 * Every method rejects with FedgateError: NOT_GRANTED, PROPOSAL_UNKNOWN, and what stands with each.
 */
export class Approvals {
  readonly #host: ApprovalsHost;

  /** Use `client.approvals`. */
  constructor(host: ApprovalsHost) {
    this.#host = host;
  }

  /**
   * Proposes what was shared, and resolves when the proposal is on stable storage of the own gateway; the organisations named get it after that.
   *
   * Rejects with FIELD_INVALID, SHARE_UNKNOWN, ORG_UNKNOWN, APPROVER_UNKNOWN (an organisation without enough good keys), LIMIT_REACHED.
   */
  async propose(options: ProposeOptions): Promise<Proposal> {
    const { contentsShare = '', note = '', links = [], proposalId, threshold } = options;
    const { artifactShare, artifactName, project, version, orgs } = options;
    const request = {
      ...{ artifactShare, contentsShare, artifactName, project, version, note },
      kind: contentsShare === '' ? ArtifactKind.ARTIFACT_KIND_FILE : ArtifactKind.ARTIFACT_KIND_PACKAGE,
      orgs: [...orgs],
      threshold: checkWhole(threshold, 'threshold', 0xffffffff),
      notBeforeMs: BigInt(checkWhole(options.notBeforeMs ?? 0, 'notBeforeMs')),
      notAfterMs: BigInt(checkWhole(options.notAfterMs ?? 0, 'notAfterMs')),
      links: [...links],
      proposalId: proposalId ? checkId(proposalId, 'proposalId') : Buffer.alloc(0),
    };
    return toProposal((await callUnary(this.#host.any, methods.propose, request, PROPOSE)).proposal);
  }

  /** A proposal with its votes. */
  async get(id: string): Promise<Proposal> {
    const request = { proposalId: toProposalId(id) };
    return toProposal((await callUnary(this.#host.any, methods.getProposal, request, QUICK)).proposal);
  }

  /** Newest first, without statements and votes. */
  async *list(options: ListProposalsOptions = {}): AsyncGenerator<Proposal> {
    const { proposer = '', project = '' } = options;
    const all = { state: toState(options.state), proposer, project, pageSize: 0 };
    let pageToken: Uint8Array = Buffer.alloc(0);
    do {
      const request = { ...all, pageToken };
      const page: ListProposalsResponse = await callUnary(this.#host.any, methods.listProposals, request, QUICK);
      for (const proposal of page.proposals) yield toProposal(proposal);
      pageToken = page.nextPageToken;
    } while (pageToken.length > 0);
  }

  /**
   * Those that are open, then each one again whenever something about it changes; goes on by itself after the connection broke. Who reads slowly
   * gets only the newest of each.
   */
  watch(options: WatchProposalsOptions = {}): AsyncIterable<Proposal> {
    return watchProposals(this.#host, options);
  }

  /**
   * Approves: signs the proposal's statement, after checking that it is what the gateway shows, and the one that was reviewed. Resolves when the
   * vote is on stable storage of the own gateway.
   *
   * Rejects with STATEMENT_INVALID, PROPOSAL_FORKED (it is another statement than `statementSha256` says), APPROVER_UNKNOWN (the key may not vote
   * here), SIGNER_FAILED, PROPOSAL_CLOSED, VOTE_FINAL (the key has voted before).
   */
  async approve(id: string, signer: Signer, options: VoteOptions = {}): Promise<VoteResult> {
    const { checked } = await this.#checked(id, options);
    return this.#vote(await approval(checked, signer));
  }

  /** Says no, which counts for the whole organisation of the key until it is withdrawn. Rejects as `approve`. */
  async reject(id: string, reason: string, signer: Signer, options: VoteOptions = {}): Promise<VoteResult> {
    const { checked } = await this.#checked(id, options);
    return this.#vote(await rejection(checked, reason, signer));
  }

  /** Takes the vote of this key back, while the proposal is open; the key may then only cast the other one. Rejects as `approve`. */
  async withdrawVote(id: string, reason: string, signer: Signer, options: VoteOptions = {}): Promise<VoteResult> {
    const { proposal, checked } = await this.#checked(id, options);
    const withdraws = standingVote(proposal, signer.key.id);
    return this.#vote(await withdrawal(checked, withdraws, reason, signer));
  }

  /** Withdraws a proposal of the own organisation while it is open. Rejects with PROPOSAL_CLOSED. */
  async withdraw(id: string, reason: string): Promise<Proposal> {
    const request = { proposalId: toProposalId(id), reason };
    return toProposal((await callUnary(this.#host.any, methods.withdrawProposal, request, QUICK)).proposal);
  }

  /**
   * The proof of an approved proposal, or of the newest approved one for an artifact with this SHA-256. Whoever gets it verifies it by a policy of
   * their own. Rejects with NOT_APPROVED.
   */
  async bundle(of: { readonly id: string } | { readonly sha256: string }): Promise<ApprovalBundle> {
    const request =
      'id' in of
        ? { of: { $case: 'proposalId' as const, value: toProposalId(of.id) } }
        : { of: { $case: 'artifactSha256' as const, value: toDigest(of.sha256) } };
    return toBundle(await callUnary(this.#host.any, methods.getBundle, request, QUICK));
  }

  /** The approval keys of organisations; of all that have any when none is named. Rejects with ORG_UNKNOWN. */
  async approvers(orgs: readonly string[] = []): Promise<readonly OrgApprovalKeys[]> {
    const request = { orgs: [...orgs] };
    return (await callUnary(this.#host.any, methods.listApprovers, request, QUICK)).orgs.map(toOrgKeys);
  }

  /** The gateway's log of approvals from an entry on, to the newest. Leaving the loop ends the call. */
  async *log(
    from = 1,
    { signal = new AbortController().signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<ApprovalLogEntry> {
    const request = { from: BigInt(checkWhole(from, 'from')) };
    for await (const entry of callServerStream(this.#host.incoming, methods.readLog, request, signal))
      yield { index: Number(entry.index), entry: Buffer.from(entry.entry), hash: Buffer.from(entry.hash) };
  }

  async #checked(
    id: string,
    { statementSha256 }: VoteOptions,
  ): Promise<{ readonly proposal: Proposal; readonly checked: CheckedStatement }> {
    const proposal = await this.get(id);
    if (proposal.id !== id) throw new FedgateError('FRAME_MALFORMED', 'the gateway answered with another proposal');
    return { proposal, checked: checkedStatement(proposal, statementSha256) };
  }

  async #vote(envelope: Envelope): Promise<VoteResult> {
    const request = { envelope: toMessage(envelope) };
    const { proposal, duplicate } = await callUnary(this.#host.any, methods.vote, request, QUICK);
    return { proposal: toProposal(proposal), duplicate };
  }
}

const toMessage = ({ payloadType, payload, signatures }: Envelope): EnvelopeMessage => ({
  payloadType,
  payload,
  signatures: signatures.map(({ keyId, signature }) => ({ keyId, signature })),
});

/** 32 bytes. Throws FIELD_INVALID. */
function toDigest(sha256: string): Buffer {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw fieldError('sha256', 'is not 64 digits of 0-9 a-f');
  return Buffer.from(sha256, 'hex');
}
