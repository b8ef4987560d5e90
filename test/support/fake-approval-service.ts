import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerUnaryCall, ServerWritableStream, sendUnaryData } from '@grpc/grpc-js';
import {
  ApprovalServiceService,
  ArtifactKind,
  type CastVote,
  Decision,
  type GetBundleRequest,
  type GetBundleResponse,
  type GetProposalRequest,
  type GetProposalResponse,
  type ListApproversResponse,
  type ListProposalsRequest,
  type ListProposalsResponse,
  type Proposal,
  ProposalState,
  type ProposeRequest,
  type ProposeResponse,
  type ReadLogRequest,
  type ReadLogResponse,
  VoteKind,
  type VoteRequest,
  type VoteResponse,
  type WatchProposalsRequest,
  type WatchProposalsResponse,
  type WithdrawProposalRequest,
  type WithdrawProposalResponse,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { LogEntry } from '../../gen/ts/fedgate/approvals/v1/exchange.js';
import { makeBundles } from '../../src/approvals/bundle.js';
import { pae } from '../../src/approvals/statement/pae.js';
import { encodeStatement, parseStatement, statementSha256 } from '../../src/approvals/statement/statement.js';
import { PAYLOAD_TYPE, type ProposalFacts, type Signer } from '../../src/approvals/types.js';
import { FedgateError } from '../../src/errors.js';
import { type ApprovalKey, readApprovalKey, verifyWithApprovalKey } from '../../src/identity/approval-key.js';
import type { OrgName } from '../../src/identity/names.js';
import type { Listener } from '../../src/transport/server.js';
import { toGrpcStatus } from '../../src/transport/status.js';
import type { FakeFileService } from './fake-file-service.js';
import { FEDERATION } from './registry.js';

export const ORGS = ['ACME', 'GLOBEX', 'INITECH'] as const;
export type TestOrgName = (typeof ORGS)[number];

/** An approver with a key of its own. */
export class TestVoter {
  readonly #privateKey: KeyObject;
  readonly signer: Signer;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#privateKey = privateKey;
    const key = readApprovalKey(publicKey.export({ type: 'spki', format: 'der' }));
    this.signer = { key, sign: async message => sign('sha256', message, privateKey) };
  }

  get key(): ApprovalKey {
    return this.signer.key;
  }

  /** Writes it as `--key` takes it. */
  async keyFile(folder: string): Promise<string> {
    const path = join(folder, `${this.key.id.slice(0, 8)}.key`);
    await writeFile(path, this.#privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    return path;
  }
}

interface Held {
  readonly facts: ProposalFacts;
  readonly statement: Buffer;
  readonly request: ProposeRequest;
  readonly votes: {
    readonly org: OrgName;
    readonly key: ApprovalKey;
    readonly signature: Buffer;
    readonly cast: CastVote;
  }[];
  state: ProposalState;
}

/** ApprovalService in memory, which counts plainly and does as it is told where a gateway could lie or break off. */
export class FakeApprovalService {
  readonly voters = Object.fromEntries(ORGS.map(org => [org, new TestVoter()])) as Record<TestOrgName, TestVoter>;
  readonly held = new Map<string, Held>();
  /** Ids of the Propose calls that came. */
  readonly proposed: string[] = [];
  /** Envelopes that came. */
  readonly votes: VoteRequest[] = [];
  /** Decides about each proposal that was made: what the call ends with all the same. */
  onPropose: () => FedgateError | undefined = () => undefined;
  /** What is shown instead. */
  lie: (proposal: Proposal) => Proposal = proposal => proposal;
  readonly #files: FakeFileService;
  readonly #watches = new Set<ServerWritableStream<WatchProposalsRequest, WatchProposalsResponse>>();
  #watching: (() => void)[] = [];

  constructor(files: FakeFileService) {
    this.#files = files;
  }

  readonly register = (listener: Listener): void => {
    listener.addService(ApprovalServiceService, {
      propose: unary((request: ProposeRequest): ProposeResponse => ({ proposal: this.#propose(request) })),
      getProposal: unary(
        ({ proposalId }: GetProposalRequest): GetProposalResponse => ({ proposal: this.#shown(this.#get(proposalId)) }),
      ),
      listProposals: unary((request: ListProposalsRequest): ListProposalsResponse => this.#list(request)),
      watchProposals: (call: ServerWritableStream<WatchProposalsRequest, WatchProposalsResponse>) => this.#watch(call),
      vote: unary((request: VoteRequest): VoteResponse => this.#vote(request)),
      withdrawProposal: unary(({ proposalId }: WithdrawProposalRequest): WithdrawProposalResponse => {
        const held = this.#get(proposalId);
        held.state = ProposalState.PROPOSAL_STATE_WITHDRAWN;
        return { proposal: this.#changed(held) };
      }),
      getBundle: unary((request: GetBundleRequest): GetBundleResponse => this.#bundle(request)),
      listApprovers: unary(
        (): ListApproversResponse => ({
          orgs: ORGS.map(org => {
            const { id, spki } = this.voters[org].key;
            const facts = { name: 'alice', addTimeMs: 1n, revokeTimeMs: 0n, compromised: false };
            return { org, required: 1, keys: [{ ...facts, keyId: Buffer.from(id, 'hex'), publicKey: spki }] };
          }),
        }),
      ),
      readLog: (call: ServerWritableStream<ReadLogRequest, ReadLogResponse>) => {
        const what = { $case: 'recalled', value: 'wrong build' } as const;
        const entry = LogEntry.encode({ timeMs: 1n, proposalId: Buffer.alloc(16, 7), org: 'ACME', what }).finish();
        call.write({ index: call.request.from, entry, hash: Buffer.alloc(32, 9) });
        call.end();
      },
    });
  };

  /** A vote of another organisation comes in. */
  async cast(id: string, org: TestOrgName, kind: 'approve' | 'reject' = 'approve'): Promise<void> {
    const held = this.#get(Buffer.from(id, 'hex'));
    const { signer } = this.voters[org];
    const signature = await signer.sign(pae(PAYLOAD_TYPE, held.statement));
    this.#take(held, org as OrgName, signer.key, signature, kind, '');
  }

  /** Resolves when a watch is open, or the next one is. */
  watched(): Promise<void> {
    return this.#watches.size > 0 ? Promise.resolve() : new Promise(resolve => this.#watching.push(resolve));
  }

  /** Breaks off every watch. */
  cutWatches(): void {
    for (const call of this.#watches)
      call.emit('error', toGrpcStatus(new FedgateError('GATEWAY_UNREACHABLE', 'the connection was lost')));
    this.#watches.clear();
  }

  #propose(request: ProposeRequest): Proposal {
    const id = request.proposalId.length > 0 ? Buffer.from(request.proposalId) : randomBytes(16);
    this.proposed.push(id.toString('hex'));
    const known = this.held.get(id.toString('hex'));
    if (known) return this.#shown(known);
    const share = this.#files.shares.get(request.artifactShare)?.share;
    if (!share) throw new FedgateError('SHARE_UNKNOWN', 'no such share');
    const isPackage = request.kind === ArtifactKind.ARTIFACT_KIND_PACKAGE;
    const nowMs = Date.now();
    const facts: ProposalFacts = {
      id: id.toString('hex'),
      federation: FEDERATION,
      project: request.project,
      version: request.version,
      sequence: [...this.held.values()].filter(({ facts: { project } }) => project === request.project).length + 1,
      artifact: {
        name: request.artifactName,
        kind: isPackage ? 'package' : 'file',
        size: Number(share.size),
        sha256: Buffer.from(share.sha256).toString('hex'),
      },
      proposer: 'ACME' as OrgName,
      approvers: [...request.orgs].sort().map(org => ({
        org: org as OrgName,
        trustDomain: `${org.toLowerCase()}.${FEDERATION}`,
        required: 1,
        keyIds: [this.voters[org as TestOrgName].key.id],
      })),
      threshold: request.threshold,
      createdMs: nowMs,
      notBeforeMs: Number(request.notBeforeMs) || nowMs,
      notAfterMs: Number(request.notAfterMs) || nowMs + 14 * 86_400_000,
      note: request.note,
      links: request.links,
    };
    const statement = encodeStatement({ kind: 'approval', proposal: facts });
    const held = { facts, statement, request, votes: [], state: ProposalState.PROPOSAL_STATE_OPEN };
    this.held.set(facts.id, held);
    const error = this.onPropose();
    if (error) throw error;
    return this.#changed(held);
  }

  #vote(request: VoteRequest): VoteResponse {
    this.votes.push(request);
    const { envelope } = request;
    const [signature] = envelope?.signatures ?? [];
    if (!envelope || !signature) throw new FedgateError('VOTE_INVALID', 'no signature');
    const statement = parseStatement(envelope.payload);
    const id = statement.kind === 'approval' ? statement.proposal.id : statement.reply.proposalId;
    const held = this.#get(Buffer.from(id, 'hex'));
    const org = ORGS.find(each => this.voters[each].key.id === signature.keyId);
    if (!org || !held.facts.approvers.some(each => each.org === org))
      throw new FedgateError('APPROVER_UNKNOWN', 'the key may not vote');
    const { key } = this.voters[org];
    const bytes = Buffer.from(signature.signature);
    if (!verifyWithApprovalKey(key, pae(envelope.payloadType, envelope.payload), bytes))
      throw new FedgateError('SIGNATURE_INVALID', 'the signature does not hold');
    const kind = { approval: 'approve', rejection: 'reject', withdrawal: 'withdraw' } as const;
    const reason = statement.kind === 'approval' ? '' : statement.reply.reason;
    const proposal = this.#take(held, org as OrgName, key, bytes, kind[statement.kind], reason);
    return { proposal, duplicate: false };
  }

  #take(
    held: Held,
    org: OrgName,
    key: ApprovalKey,
    signature: Buffer,
    kind: 'approve' | 'reject' | 'withdraw',
    reason: string,
  ): Proposal {
    const kinds = {
      approve: VoteKind.VOTE_KIND_APPROVE,
      reject: VoteKind.VOTE_KIND_REJECT,
      withdraw: VoteKind.VOTE_KIND_WITHDRAW,
    };
    const facts = { approver: 'alice', reason, receiveTimeMs: BigInt(Date.now()), whyNot: '', receipts: [] };
    const cast: CastVote = {
      ...facts,
      kind: kinds[kind],
      keyId: Buffer.from(key.id, 'hex'),
      counts: kind !== 'withdraw',
      envelope: undefined,
    };
    held.votes.push({ org, key, signature, cast });
    const { approved, rejected } = counts(held);
    if (approved >= held.facts.threshold) held.state = ProposalState.PROPOSAL_STATE_APPROVED;
    else if (held.facts.approvers.length - rejected < held.facts.threshold)
      held.state = ProposalState.PROPOSAL_STATE_REJECTED;
    return this.#changed(held);
  }

  #list({ state, proposer, project, pageToken }: ListProposalsRequest): ListProposalsResponse {
    const all = [...this.held.values()]
      .reverse()
      .filter(held => (state === 0 || held.state === state) && (proposer === '' || held.facts.proposer === proposer))
      .filter(({ facts }) => project === '' || facts.project === project);
    // Pages of two, so that whoever lists has to go on.
    const from = pageToken[0] ?? 0;
    const page = all.slice(from, from + 2).map(held => ({ ...this.#shown(held), statement: Buffer.alloc(0) }));
    return { proposals: page, nextPageToken: from + 2 < all.length ? Buffer.from([from + 2]) : Buffer.alloc(0) };
  }

  #watch(call: ServerWritableStream<WatchProposalsRequest, WatchProposalsResponse>): void {
    this.#watches.add(call);
    call.on('close', () => this.#watches.delete(call));
    call.on('cancelled', () => this.#watches.delete(call));
    for (const held of this.held.values()) if (wants(call.request, held)) call.write({ proposal: this.#shown(held) });
    for (const resolve of this.#watching.splice(0)) resolve();
  }

  #bundle({ of }: GetBundleRequest): GetBundleResponse {
    const held =
      of?.$case === 'artifactSha256'
        ? [...this.held.values()].find(
            ({ facts, state }) =>
              state === ProposalState.PROPOSAL_STATE_APPROVED &&
              facts.artifact.sha256 === Buffer.from(of.value).toString('hex'),
          )
        : this.#get(of?.value ?? Buffer.alloc(16));
    if (!held) throw new FedgateError('PROPOSAL_UNKNOWN', 'no approval of that artifact is known');
    if (held.state !== ProposalState.PROPOSAL_STATE_APPROVED) throw new FedgateError('NOT_APPROVED', 'not approved');
    const signatures = held.votes.filter(({ cast }) => cast.kind === VoteKind.VOTE_KIND_APPROVE);
    const bundles = makeBundles({ proposal: held.facts, statement: held.statement, signatures });
    const sigstore = bundles.sigstore.map(each => ({ ...each, keyId: Buffer.from(each.keyId, 'hex') }));
    return { ...bundles, sigstore, proposalId: Buffer.from(held.facts.id, 'hex') };
  }

  #get(id: Uint8Array): Held {
    const held = this.held.get(Buffer.from(id).toString('hex'));
    if (!held) throw new FedgateError('PROPOSAL_UNKNOWN', 'this gateway holds no such proposal');
    return held;
  }

  #changed(held: Held): Proposal {
    const proposal = this.#shown(held);
    for (const call of this.#watches) if (wants(call.request, held, true)) call.write({ proposal });
    return proposal;
  }

  #shown(held: Held): Proposal {
    const { facts, statement, request, state, votes } = held;
    const previous = [...this.held.values()].findLast(
      each =>
        each !== held &&
        each.state === ProposalState.PROPOSAL_STATE_APPROVED &&
        each.facts.project === facts.project &&
        each.facts.sequence < facts.sequence,
    );
    return this.lie({
      id: Buffer.from(facts.id, 'hex'),
      statement,
      statementSha256: Buffer.from(statementSha256(statement), 'hex'),
      state,
      stateTimeMs: BigInt(facts.createdMs),
      proposer: facts.proposer,
      project: facts.project,
      version: facts.version,
      sequence: BigInt(facts.sequence),
      kind: request.kind,
      artifactName: facts.artifact.name,
      artifactSize: BigInt(facts.artifact.size),
      artifactSha256: Buffer.from(facts.artifact.sha256, 'hex'),
      artifactShare: request.artifactShare,
      contentsShare: request.contentsShare,
      threshold: facts.threshold,
      ...counts(held),
      createTimeMs: BigInt(facts.createdMs),
      notBeforeMs: BigInt(facts.notBeforeMs),
      notAfterMs: BigInt(facts.notAfterMs),
      note: facts.note,
      links: facts.links,
      standings: facts.approvers.map(({ org, required, keyIds }) => ({
        org,
        decision: decisionOf(held, org),
        required,
        keyIds: keyIds.map(id => Buffer.from(id, 'hex')),
        votes: votes.filter(vote => vote.org === org).map(({ cast }) => cast),
        holds: true,
        refusal: '',
      })),
      previousApprovedId: previous ? Buffer.from(previous.facts.id, 'hex') : Buffer.alloc(0),
    });
  }
}

function decisionOf({ votes }: Held, org: string): Decision {
  const last = votes.findLast(vote => vote.org === org)?.cast.kind;
  if (last === VoteKind.VOTE_KIND_APPROVE) return Decision.DECISION_APPROVED;
  return last === VoteKind.VOTE_KIND_REJECT ? Decision.DECISION_REJECTED : Decision.DECISION_UNSPECIFIED;
}

function counts(held: Held): { approved: number; rejected: number } {
  const decisions = held.facts.approvers.map(({ org }) => decisionOf(held, org));
  const count = (decision: Decision): number => decisions.filter(each => each === decision).length;
  return { approved: count(Decision.DECISION_APPROVED), rejected: count(Decision.DECISION_REJECTED) };
}

function wants({ proposalId }: WatchProposalsRequest, { facts, state }: Held, changed = false): boolean {
  if (proposalId.length > 0) return Buffer.from(proposalId).toString('hex') === facts.id;
  return changed || state === ProposalState.PROPOSAL_STATE_OPEN;
}

const unary =
  <Req, Res>(answer: (request: Req) => Res) =>
  ({ request }: ServerUnaryCall<Req, Res>, send: sendUnaryData<Res>): void => {
    try {
      send(null, answer(request));
    } catch (error) {
      if (!(error instanceof FedgateError)) throw error;
      send(toGrpcStatus(error));
    }
  };
