import type { CastVote, GetBundleResponse, Proposal } from '../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { makeBundles } from '../approvals/bundle.js';
import type { ApprovalBook, CountedApproval, ProposalFilter } from '../approvals/types.js';
import { toListed } from './approval-messages.js';

/** Clients take messages of 4 MiB unless they are told otherwise, and nobody should have to know that. */
export const MAX_ANSWER_BYTES = 3 * 1024 * 1024;
/** Proposals that are read at once for a page. */
const STEP = 1_000;

/** As many proposals as were asked for, or as fit into an answer. */
export async function readPage(
  book: Pick<ApprovalBook, 'list'>,
  filter: ProposalFilter,
  after: Buffer | undefined,
  limit: number,
): Promise<{ readonly proposals: readonly Proposal[]; readonly last: Buffer | undefined }> {
  const proposals: Proposal[] = [];
  let last = after;
  let bytes = 0;
  for (let step = Math.min(STEP, limit); proposals.length < limit; ) {
    const found = await book.list(filter, last, Math.min(step, limit - proposals.length));
    const listed = found.proposals.map(toListed);
    const more = listed.reduce((sum, proposal) => sum + sizeOf(proposal), 0);
    if (bytes + more > MAX_ANSWER_BYTES && (listed.length > 1 || proposals.length > 0)) {
      if (listed.length === 1) break;
      // Read once more, fewer: only the book knows where a page may end.
      step = Math.max(1, Math.floor((0.9 * listed.length * (MAX_ANSWER_BYTES - bytes)) / more));
      continue;
    }
    proposals.push(...listed);
    bytes += more;
    last = found.last;
    step = Math.min(STEP, 2 * step);
    if (!last || bytes > 0.9 * MAX_ANSWER_BYTES) break;
  }
  return { proposals, last };
}

/**
 * A proposal that fits into an answer. Very many votes with very long statements do not: then approvals come without their payload, which is
 * the statement; and if that is not enough, votes without their envelopes.
 */
export function fitted(proposal: Proposal): Proposal {
  if (sizeOf(proposal) <= MAX_ANSWER_BYTES) return proposal;
  const without = withVotes(proposal, vote =>
    vote.envelope && Buffer.from(vote.envelope.payload).equals(proposal.statement)
      ? { ...vote, envelope: { ...vote.envelope, payload: Buffer.alloc(0) } }
      : vote,
  );
  return sizeOf(without) <= MAX_ANSWER_BYTES
    ? without
    : withVotes(proposal, vote => ({ ...vote, envelope: undefined }));
}

const withVotes = (proposal: Proposal, change: (vote: CastVote) => CastVote): Proposal => ({
  ...proposal,
  standings: proposal.standings.map(standing => ({ ...standing, votes: standing.votes.map(change) })),
});

/** Numbers, digests and what stands before each field, at their longest. */
const FIXED_BYTES = 288;
const FIXED_STANDING_BYTES = 40;

/** Bytes that a message has at the most, and not many more: pages are as large as they may be by it. */
export function sizeOf(proposal: Proposal): number {
  const { statement, links, standings } = proposal;
  const { proposer, project, version, artifactName, artifactShare, contentsShare, note } = proposal;
  // Names of organisations, projects and versions are ASCII.
  let bytes = FIXED_BYTES + statement.length + proposer.length + project.length + version.length;
  for (const text of [artifactName, artifactShare, contentsShare, note]) bytes += Buffer.byteLength(text);
  for (const link of links) bytes += 4 + Buffer.byteLength(link);
  for (const { org, keyIds, refusal, votes } of standings) {
    bytes += FIXED_STANDING_BYTES + org.length + keyIds.length * 34 + Buffer.byteLength(refusal);
    for (const vote of votes) bytes += sizeOfVote(vote);
  }
  return bytes;
}

function sizeOfVote({ reason, whyNot, receipts, envelope }: CastVote): number {
  const signed = envelope ? envelope.payload.length + 2_400 * envelope.signatures.length : 0;
  return 192 + 3 * (reason.length + whyNot.length) + 34 * receipts.length + signed;
}

/** The proof in its forms. The first has all there is: the others are left out when they would not fit into an answer. */
export function toBundleResponse(approval: CountedApproval): GetBundleResponse {
  const { artifactName, dsse, sigstore, jsonl } = makeBundles(approval);
  const others = sigstore.reduce((sum, { bundle }) => sum + bundle.length + 128, jsonl.length);
  const fits = dsse.length + others <= MAX_ANSWER_BYTES;
  return {
    proposalId: Buffer.from(approval.proposal.id, 'hex'),
    artifactName,
    dsse,
    sigstore: fits ? sigstore.map(each => ({ ...each, keyId: Buffer.from(each.keyId, 'hex') })) : [],
    jsonl: fits ? jsonl : '',
  };
}
