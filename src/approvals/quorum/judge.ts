import type { ApproverDirectory, ApproverOrg, ProposalFacts } from '../types.js';
import { KeyVotes } from './casting.js';
import { disqualified, type Listed, lastVoteMs, lookUp, namesLeft } from './eligibility.js';
import type { CountableVote, Ended, Judgement, OrgFinding, VoteFinding } from './types.js';

/**
 * Counts a proposal: a function of what it says, the votes in the order in which they came, what the registry says now, and the time.
 *
 * Organisations are counted, never keys, signatures or people. `ended`: what was found once stays found, and votes after it are only shown.
 */
export function judge(
  proposal: ProposalFacts,
  votes: readonly CountableVote[],
  directory: Pick<ApproverDirectory, 'of'>,
  nowMs: number,
  ended?: Ended,
): Judgement {
  const findings: VoteFinding[] = votes.map(() => NOTHING);
  const orgs = proposal.approvers.map(listed =>
    judgeOrg({ proposal, votes, findings, ended, nowMs }, lookUp(listed, directory)),
  );
  strangers(proposal, votes, findings);
  const approved = orgs.filter(({ decision }) => decision === 'approve').length;
  const rejected = orgs.filter(({ decision }) => decision === 'reject').length;
  const possible = orgs.filter(({ mayApprove }) => mayApprove).length;
  const state = ended ? { state: ended.state, why: '' } : stateOf(proposal, { approved, rejected, possible }, nowMs);
  return { ...state, orgs, votes: findings, approved, rejected };
}

interface Counting {
  readonly proposal: ProposalFacts;
  readonly votes: readonly CountableVote[];
  /** Filled in. */
  readonly findings: VoteFinding[];
  readonly ended: Ended | undefined;
  readonly nowMs: number;
}

const NOTHING: VoteFinding = { counts: false, whyNot: '', approver: '' };

function stateOf(
  { threshold, approvers, notAfterMs }: ProposalFacts,
  { approved, rejected, possible }: { readonly approved: number; readonly rejected: number; readonly possible: number },
  nowMs: number,
): Pick<Judgement, 'state' | 'why'> {
  const of = `of ${approvers.length} organisations`;
  if (approved >= threshold) return { state: 'approved', why: `${approved} ${of} have approved, ${threshold} must` };
  if (nowMs > lastVoteMs({ notAfterMs })) {
    return { state: 'expired', why: `its time was over at ${new Date(notAfterMs).toISOString()}` };
  }
  if (possible < threshold) {
    const why = `${rejected} ${of} have rejected and ${possible} can approve, ${threshold} must`;
    return { state: 'rejected', why };
  }
  return { state: 'open', why: '' };
}

/** Takes the votes of one organisation in the order in which they came, then sees what stands. */
function judgeOrg(counting: Counting, of: Listed): OrgFinding {
  const { proposal, votes, findings, ended } = counting;
  const keys = new Map<string, KeyVotes>();
  /** Places of the approvals and rejections that stand. */
  const standing = new Map<string, number>();
  /** Keys that have approved, counted or not: none of them can again. */
  const used = new Set<string>();
  for (const [place, vote] of votes.entries()) {
    if (vote.org !== of.listed.org) continue;
    if (vote.kind === 'approve') used.add(vote.keyId);
    const said = keys.get(vote.keyId) ?? new KeyVotes();
    keys.set(vote.keyId, said);
    const whyNot = disqualified(proposal, of, vote) ?? afterEnd(ended, vote, place) ?? said.refuses(vote);
    const approver = of.approvers.get(vote.keyId)?.name ?? '';
    findings[place] = { counts: whyNot === undefined, whyNot: whyNot ?? '', approver };
    if (whyNot !== undefined) continue;
    said.take(vote);
    if (vote.kind === 'withdraw') withdrawn(findings, standing.get(vote.keyId));
    if (vote.kind === 'withdraw') standing.delete(vote.keyId);
    else standing.set(vote.keyId, place);
  }
  return decide(
    counting,
    of,
    [...standing.values()].sort((a, b) => a - b),
    used,
  );
}

/** What stands of an organisation: one rejection is enough, approvals must be of so many different approvers. */
function decide(
  { votes, findings, nowMs }: Counting,
  of: Listed,
  standing: readonly number[],
  used: Set<string>,
): OrgFinding {
  const { org, required } = of.listed;
  const kindAt = (place: number): string => votes[place]?.kind ?? '';
  const approvals = standing.filter(place => kindAt(place) === 'approve');
  if (approvals.length < standing.length) {
    for (const place of approvals) deny(findings, place, `another approver of ${org} has rejected`);
    return { org, decision: 'reject', countedKeys: [], mayApprove: false };
  }
  const names = new Set<string>();
  const countedKeys: string[] = [];
  for (const place of approvals) {
    const name = findings[place]?.approver ?? '';
    if (names.has(name)) deny(findings, place, `already counted: ${name} has approved with another key`);
    else if (names.size === required) deny(findings, place, `already counted: ${org} has approved`);
    else {
      names.add(name);
      countedKeys.push(votes[place]?.keyId ?? '');
    }
  }
  if (names.size >= required) return { org, decision: 'approve', countedKeys, mayApprove: true };
  const reachable = new Set([...names, ...namesLeft(of, used, nowMs)]);
  return { org, decision: 'none', countedKeys: [], mayApprove: reachable.size >= required };
}

function afterEnd(ended: Ended | undefined, { kind }: CountableVote, place: number): string | undefined {
  if (!ended || place < ended.votes) return undefined;
  // More organisations may approve what is approved. Nothing takes that back.
  if (ended.state === 'approved' && kind !== 'withdraw') return undefined;
  return `it came when the proposal was ${ended.state}`;
}

const deny = (findings: VoteFinding[], place: number, whyNot: string): void => {
  findings[place] = { ...(findings[place] ?? NOTHING), counts: false, whyNot };
};

const withdrawn = (findings: VoteFinding[], place: number | undefined): void => {
  if (place !== undefined) deny(findings, place, 'it was withdrawn');
};

/** Votes of organisations that the list does not have: gateways take none, and they never count. */
function strangers(proposal: ProposalFacts, votes: readonly CountableVote[], findings: VoteFinding[]): void {
  const named = new Set(proposal.approvers.map(({ org }: ApproverOrg) => org));
  for (const [place, vote] of votes.entries()) {
    if (!named.has(vote.org)) deny(findings, place, disqualified(proposal, undefined, vote) ?? '');
  }
}
