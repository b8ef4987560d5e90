import type { Approver, ApproverDirectory, ApproverOrg, OrgApprovers, ProposalFacts } from '../types.js';
import type { CountableVote } from './types.js';

/** How far the clocks of honest gateways may differ: votes count so long before a proposal begins, and after its end. */
export const GRACE_MS = 60_000;

/** The last instant at which a vote counts. */
export const lastVoteMs = ({ notAfterMs }: Pick<ProposalFacts, 'notAfterMs'>): number => notAfterMs + GRACE_MS;

/** An organisation of the proposal's list, next to what its record says now. */
export interface Listed {
  readonly listed: ApproverOrg;
  readonly member: OrgApprovers | undefined;
  /** The approvers of the record, by the id of their key. */
  readonly approvers: ReadonlyMap<string, Approver>;
}

export function lookUp(listed: ApproverOrg, directory: Pick<ApproverDirectory, 'of'>): Listed {
  const member = directory.of(listed.org);
  const approvers = new Map((member?.approvers ?? []).map(approver => [approver.key.id, approver]));
  return { listed, member, approvers };
}

/** Why a vote does not count, whatever else was cast: who cast it, with which key, and when. Undefined: nothing is wrong with it. */
export function disqualified(proposal: ProposalFacts, of: Listed | undefined, vote: CountableVote): string | undefined {
  if (!of) return `the proposal does not name ${vote.org}`;
  if (!of.listed.keyIds.includes(vote.keyId)) return `the proposal does not name this key of ${vote.org}`;
  return notMember(of) ?? badKey(of, vote) ?? outOfTime(proposal, vote.receiveMs);
}

const notMember = ({ listed, member }: Listed): string | undefined =>
  member?.active ? undefined : `${listed.org} is not an active member`;

function badKey({ listed, approvers }: Listed, { keyId, receiveMs }: CountableVote): string | undefined {
  const approver = approvers.get(keyId);
  if (!approver) return `the record of ${listed.org} does not name the key any more`;
  const { revocation } = approver;
  if (!revocation || receiveMs < revocation.timeMs) return undefined;
  const since = new Date(revocation.timeMs).toISOString();
  return revocation.compromised
    ? `the key is revoked: somebody else may have it since ${since}`
    : `the key is revoked since ${since}`;
}

function outOfTime({ notBeforeMs, notAfterMs }: ProposalFacts, receiveMs: number): string | undefined {
  if (receiveMs < notBeforeMs - GRACE_MS) return `it came before ${new Date(notBeforeMs).toISOString()}`;
  if (receiveMs > notAfterMs + GRACE_MS) return `it came after ${new Date(notAfterMs).toISOString()}`;
  return undefined;
}

/** Names of approvers with a key that was never used to approve, and may be from now on. */
export function namesLeft({ listed, member, approvers }: Listed, used: ReadonlySet<string>, nowMs: number): string[] {
  if (!member?.active) return [];
  return listed.keyIds.flatMap(id => {
    const approver = approvers.get(id);
    if (!approver || used.has(id)) return [];
    if (approver.revocation && approver.revocation.timeMs <= nowMs) return [];
    return [approver.name];
  });
}
