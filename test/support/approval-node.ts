import type { Client } from '@grpc/grpc-js';
import {
  ArtifactKind,
  type Envelope,
  type GetBundleRequest,
  type GetBundleResponse,
  type ListApproversResponse,
  ListProposalsRequest,
  type ListProposalsResponse,
  ApprovalServiceService as methods,
  type Proposal,
  ProposeRequest,
  type ReadLogResponse,
  type VoteResponse,
  WatchProposalsRequest,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { pae } from '../../src/approvals/statement/pae.js';
import { encodeStatement, parseStatement, statementSha256 } from '../../src/approvals/statement/statement.js';
import { PAYLOAD_TYPE, type ReplyFacts, type Statement } from '../../src/approvals/types.js';
import { loadContext } from '../../src/client/context.js';
import type { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { openChannel } from '../../src/transport/channel.js';
import { callServerStream, callUnary } from '../../src/transport/client-calls.js';
import type { TestKey } from './approvals.js';
import type { TestScope } from './registry.js';

const TIMEOUT = { timeoutMs: 60_000 };
const MIB = 1024 * 1024;

/** A program that knows ApprovalService from its proto alone, and takes no larger message than any gRPC client does. */
export class ApprovalNode {
  readonly #channel: Client;

  constructor(channel: Client) {
    this.#channel = channel;
  }

  /** With the certificates of a context file; closed after the test. */
  static async of(t: TestScope, contextFile: string): Promise<ApprovalNode> {
    const context = await loadContext(contextFile);
    const channel = openChannel({ ...context, window: 4 * MIB, maxReceiveBytes: 4 * MIB });
    t.teardown(() => channel.close());
    return new ApprovalNode(channel);
  }

  async propose(request: Partial<ProposeRequest>): Promise<Proposal> {
    const whole = ProposeRequest.fromPartial({
      ...{ kind: ArtifactKind.ARTIFACT_KIND_FILE, project: 'scanner', version: '1.0.0', threshold: 1 },
      ...request,
    });
    return present((await callUnary(this.#channel, methods.propose, whole, TIMEOUT)).proposal);
  }

  async get(proposalId: Uint8Array): Promise<Proposal> {
    return present((await callUnary(this.#channel, methods.getProposal, { proposalId }, TIMEOUT)).proposal);
  }

  list(request: Partial<ListProposalsRequest> = {}): Promise<ListProposalsResponse> {
    return callUnary(this.#channel, methods.listProposals, ListProposalsRequest.fromPartial(request), TIMEOUT);
  }

  async *watch(
    request: Partial<WatchProposalsRequest> = {},
    signal: AbortSignal = new AbortController().signal,
  ): AsyncGenerator<Proposal> {
    const whole = WatchProposalsRequest.fromPartial(request);
    for await (const { proposal } of callServerStream(this.#channel, methods.watchProposals, whole, signal))
      yield present(proposal);
  }

  /** The first state of a proposal, now or later, that the check accepts. The gateway may learn of it later, too. */
  async until(id: Uint8Array, check: (proposal: Proposal) => boolean): Promise<Proposal> {
    await this.#known(id);
    for await (const proposal of this.watch({ proposalId: id })) if (check(proposal)) return proposal;
    throw new Error('the gateway stopped watching');
  }

  async #known(id: Uint8Array): Promise<void> {
    try {
      await this.get(id);
    } catch (error) {
      if ((error as FedgateError).reason !== 'PROPOSAL_UNKNOWN') throw error;
      for await (const proposal of this.watch()) if (Buffer.from(proposal.id).equals(id)) return;
    }
  }

  vote(envelope: Envelope | undefined): Promise<VoteResponse> {
    return callUnary(this.#channel, methods.vote, { envelope }, TIMEOUT);
  }

  async approve(id: Uint8Array, key: TestKey): Promise<VoteResponse> {
    return this.vote(signed((await this.get(id)).statement, key));
  }

  async reject(id: Uint8Array, key: TestKey, reason = 'not good'): Promise<VoteResponse> {
    return this.vote(rejection(await this.get(id), key, reason));
  }

  async withdraw(proposalId: Uint8Array, reason = 'changed my mind'): Promise<Proposal> {
    const request = { proposalId, reason };
    return present((await callUnary(this.#channel, methods.withdrawProposal, request, TIMEOUT)).proposal);
  }

  bundle(of: GetBundleRequest['of']): Promise<GetBundleResponse> {
    return callUnary(this.#channel, methods.getBundle, { of }, TIMEOUT);
  }

  approvers(...orgs: string[]): Promise<ListApproversResponse> {
    return callUnary(this.#channel, methods.listApprovers, { orgs }, TIMEOUT);
  }

  async log(from = 0n): Promise<ReadLogResponse[]> {
    const entries: ReadLogResponse[] = [];
    const { signal } = new AbortController();
    for await (const entry of callServerStream(this.#channel, methods.readLog, { from }, signal)) entries.push(entry);
    return entries;
  }
}

/** What an approver signs, signed. */
export function signed(payload: Uint8Array, key: TestKey): Envelope {
  const signature = key.sign(pae(PAYLOAD_TYPE, payload));
  return { payloadType: PAYLOAD_TYPE, payload: Buffer.from(payload), signatures: [{ keyId: key.key.id, signature }] };
}

/** A signed no to a proposal. */
export function rejection({ statement }: Pick<Proposal, 'statement'>, key: TestKey, reason = 'not good'): Envelope {
  return signed(encodeStatement({ kind: 'rejection', reply: replyBy(statement, key.org, reason) }), key);
}

/** The signed withdrawal of a vote. */
export function withdrawal(
  { statement }: Pick<Proposal, 'statement'>,
  key: TestKey,
  withdraws: Extract<Statement, { kind: 'withdrawal' }>['withdraws'],
): Envelope {
  const reply = replyBy(statement, key.org, 'changed my mind');
  return signed(encodeStatement({ kind: 'withdrawal', reply, withdraws }), key);
}

function replyBy(statement: Uint8Array, org: OrgName, reason: string): ReplyFacts {
  const parsed = parseStatement(statement);
  if (parsed.kind !== 'approval') throw new Error('no proposal');
  const { id, federation, artifact } = parsed.proposal;
  const { name, sha256 } = artifact;
  const statementDigest = statementSha256(statement);
  return {
    ...{ proposalId: id, federation, org, artifact: { name, sha256 }, statementSha256: statementDigest },
    ...{ reason, timeMs: Date.now() },
  };
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the answer holds no proposal');
  return value;
}
