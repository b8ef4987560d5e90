import type {
  ApprovalServiceService,
  GetBundleRequest,
  GetProposalRequest,
  ListApproversRequest,
  ListProposalsRequest,
  ProposeRequest,
  ReadLogRequest,
  ReadLogResponse,
  VoteRequest,
  WatchProposalsRequest,
  WatchProposalsResponse,
  WithdrawProposalRequest,
} from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { parseChecksumList } from '../approvals/checksum-list.js';
import { MAX_LIST_BYTES } from '../approvals/statement/rules.js';
import type { ApprovalBook, ApproverDirectory, OrgApprovers, ProposalDraft } from '../approvals/types.js';
import { FedgateError, fieldError } from '../errors.js';
import { firstOf } from '../files/abort.js';
import { parseOrgName } from '../identity/names.js';
import type { Access } from '../messaging/access.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import {
  readEnvelope,
  readFileName,
  readOrgOrAll,
  readProjectOrAll,
  readProposeRequest,
  readReason,
  readState,
  readToken,
  toOrg,
} from './approval-messages.js';
import { fitted, readPage, toBundleResponse } from './approval-sizes.js';
import { readId } from './file-messages.js';
import type { ProposedShares } from './proposed-shares.js';

/** What ApprovalService is made of. */
export interface ApprovalHost {
  readonly access: Access;
  readonly book: ApprovalBook;
  readonly approvers: ApproverDirectory;
  readonly shares: Pick<ProposedShares, 'find'>;
  /** Fires when the gateway is about to stop. */
  readonly draining: AbortSignal;
}

const DEFAULT_PAGE = 1_000;
const MAX_PAGE = 10_000;
const MAX_NAMED_ORGS = 1_000;

type Caller = { readonly name: string };
type Context = CallContext<Caller>;

/** Approval of code, for nodes of the own organisation. */
export function approvalService(
  wrapper: CallWrapper<Caller>,
  host: ApprovalHost,
): Handlers<typeof ApprovalServiceService> {
  return { ...changes(wrapper, host), ...questions(wrapper, host), ...streams(wrapper, host) };
}

function changes(wrapper: CallWrapper<Caller>, host: ApprovalHost) {
  const { access, book } = host;
  return {
    propose: wrapper.unary(async (request: ProposeRequest, { caller, signal }: Context) => {
      access.checkApprovals(caller.name, 'propose');
      return { proposal: fitted(await book.propose(await readDraft(request, caller.name, host, signal))) };
    }),
    vote: wrapper.unary(async ({ envelope }: VoteRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'vote');
      const { proposal, duplicate } = await book.vote(readEnvelope(envelope));
      return { proposal: fitted(proposal), duplicate };
    }),
    withdrawProposal: wrapper.unary(async ({ proposalId, reason }: WithdrawProposalRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'propose');
      const id = readId(proposalId, 'proposal_id');
      return { proposal: fitted(await book.withdraw(id, readReason(reason, 'reason'))) };
    }),
  };
}

function questions(wrapper: CallWrapper<Caller>, { access, book, approvers }: ApprovalHost) {
  return {
    getProposal: wrapper.unary(async ({ proposalId }: GetProposalRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'view');
      return { proposal: fitted(await book.get(readId(proposalId, 'proposal_id'))) };
    }),
    listProposals: wrapper.unary(async (request: ListProposalsRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'view');
      const { pageSize } = request;
      if (pageSize > MAX_PAGE) throw fieldError('page_size', `is over ${MAX_PAGE}`);
      const filter = { state: readState(request.state), ...readFilter(request) };
      const page = await readPage(book, filter, readToken(request.pageToken), pageSize || DEFAULT_PAGE);
      return { proposals: [...page.proposals], nextPageToken: page.last ?? Buffer.alloc(0) };
    }),
    getBundle: wrapper.unary(async ({ of }: GetBundleRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'view');
      return toBundleResponse(await book.approval(readSubject(of)));
    }),
    listApprovers: wrapper.unary(({ orgs }: ListApproversRequest, { caller }: Context) => {
      access.checkApprovals(caller.name, 'view');
      if (orgs.length > MAX_NAMED_ORGS) throw fieldError('orgs', `has more than ${MAX_NAMED_ORGS} organisations`);
      return { orgs: approversOf(approvers, orgs).map(toOrg) };
    }),
  };
}

function streams(wrapper: CallWrapper<Caller>, { access, book, draining }: ApprovalHost) {
  return {
    watchProposals: wrapper.serverStream(
      async (request: WatchProposalsRequest, out: FrameWriter<WatchProposalsResponse>, context: Context) => {
        access.checkApprovals(context.caller.name, 'view');
        const { proposalId } = request;
        const id = proposalId.length === 0 ? undefined : readId(proposalId, 'proposal_id');
        const stop = firstOf([context.signal, draining]);
        try {
          const changed = book.watch({ id, ...readFilter(request) }, stop.signal);
          for await (const proposal of changed) await out.send({ proposal: fitted(proposal) });
        } finally {
          stop.stop();
        }
        draining.throwIfAborted();
      },
    ),
    readLog: wrapper.serverStream(
      async ({ from }: ReadLogRequest, out: FrameWriter<ReadLogResponse>, { caller, signal }: Context) => {
        access.checkApprovals(caller.name, 'view');
        if (from > BigInt(Number.MAX_SAFE_INTEGER)) throw fieldError('from', 'is no place in a log');
        const stop = firstOf([signal, draining]);
        try {
          const entries = book.log(Math.max(1, Number(from)), stop.signal);
          for await (const { index, entry, hash } of entries) await out.send({ index: BigInt(index), entry, hash });
        } finally {
          stop.stop();
        }
        draining.throwIfAborted();
      },
    ),
  };
}

/** What is proposed, with what its shares say. */
async function readDraft(
  request: ProposeRequest,
  node: string,
  { shares }: ApprovalHost,
  signal: AbortSignal,
): Promise<ProposalDraft> {
  const { kind, artifactName, ...rest } = readProposeRequest(request);
  const share = await shares.find(request.artifactShare, 'artifact_share', node, rest.orgs);
  const name = readFileName(artifactName || share.name, 'artifact_name');
  const artifact = { name, kind, size: share.size, sha256: share.sha256.toString('hex') };
  const draft = { ...rest, artifact, artifactShare: share.id };
  if (kind === 'file') return { ...draft, contentsShare: '', files: [] };
  if (share.size > MAX_LIST_BYTES) throw fieldError('artifact_share', `is longer than ${MAX_LIST_BYTES} bytes`);
  const contents = await shares.find(request.contentsShare, 'contents_share', node, rest.orgs);
  return { ...draft, contentsShare: contents.id, files: readFiles(await share.read(signal)) };
}

function readFiles(list: Buffer): readonly Buffer[] {
  try {
    return parseChecksumList(list).map(({ sha256 }) => Buffer.from(sha256, 'hex'));
  } catch (error) {
    if (!(error instanceof FedgateError)) throw error;
    throw fieldError('artifact_share', error.message);
  }
}

const readFilter = ({ proposer, project }: { readonly proposer: string; readonly project: string }) => ({
  proposer: readOrgOrAll(proposer, 'proposer'),
  project: readProjectOrAll(project),
});

function readSubject(of: GetBundleRequest['of']): Parameters<ApprovalBook['approval']>[0] {
  if (of?.$case === 'proposalId') return { id: readId(of.value, 'proposal_id') };
  if (of?.$case !== 'artifactSha256') throw fieldError('of', 'is missing');
  if (of.value.length !== 32) throw fieldError('artifact_sha256', `has ${of.value.length} bytes instead of 32`);
  return { artifactSha256: Buffer.from(of.value) };
}

/** Throws FIELD_INVALID, ORG_UNKNOWN. */
function approversOf(directory: ApproverDirectory, orgs: readonly string[]): OrgApprovers[] {
  if (orgs.length === 0) {
    const all = [...directory.all()].filter(({ approvers }) => approvers.length > 0);
    return all.sort((a, b) => (a.org < b.org ? -1 : 1));
  }
  const names = [...new Set(orgs.map((org, i) => parseOrgName(org, `orgs[${i}]`)))].sort();
  return names.map(org => {
    const found = directory.of(org);
    if (!found) throw new FedgateError('ORG_UNKNOWN', `${org} is no member`, { metadata: { org } });
    return found;
  });
}
