import {
  ArtifactKind,
  type CastVote,
  Decision,
  type Proposal,
  type Standing,
} from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { Judgement, OrgFinding } from '../quorum/types.js';
import type { Marks } from './desk.js';
import { STATES, type StoredProposal } from './stored-proposal.js';
import { type StoredVote, VOTE_KINDS } from './stored-vote.js';

/** A proposal in the words of the contract. */

const DECISIONS: { readonly [decision in OrgFinding['decision']]: Decision } = {
  none: Decision.DECISION_UNSPECIFIED,
  approve: Decision.DECISION_APPROVED,
  reject: Decision.DECISION_REJECTED,
};

const KINDS = { file: ArtifactKind.ARTIFACT_KIND_FILE, package: ArtifactKind.ARTIFACT_KIND_PACKAGE } as const;

/** Payloads of approvals that one answer holds: they are all the statement, and 1,024 of them would be 64 MiB. */
export const MAX_REPEATED_PAYLOAD_BYTES = 1024 * 1024;

const NOTHING: Uint8Array = new Uint8Array(0);

/** As lists show it. `ownOrg`: holds whatever is here. */
export function summaryOf(stored: StoredProposal, judgement: Judgement, marks: Marks, ownOrg: string): Proposal {
  const { facts } = stored;
  return {
    id: stored.id,
    statement: NOTHING,
    statementSha256: stored.sha256,
    state: STATES[stored.end?.state ?? 'open'],
    stateTimeMs: BigInt(stored.end?.timeMs ?? stored.receiveMs),
    proposer: facts.proposer,
    project: facts.project,
    version: facts.version,
    sequence: BigInt(facts.sequence),
    kind: KINDS[facts.artifact.kind],
    artifactName: facts.artifact.name,
    artifactSize: BigInt(facts.artifact.size),
    artifactSha256: Buffer.from(facts.artifact.sha256, 'hex'),
    artifactShare: stored.artifactShare,
    contentsShare: stored.contentsShare,
    threshold: facts.threshold,
    approved: judgement.approved,
    rejected: judgement.rejected,
    createTimeMs: BigInt(facts.createdMs),
    notBeforeMs: BigInt(facts.notBeforeMs),
    notAfterMs: BigInt(facts.notAfterMs),
    note: facts.note,
    links: facts.links,
    standings: facts.approvers.map(({ org, required, keyIds }, place) => ({
      org,
      decision: DECISIONS[judgement.orgs[place]?.decision ?? 'none'],
      required,
      keyIds: keyIds.map(id => Buffer.from(id, 'hex')),
      votes: [],
      holds: org === ownOrg || org === facts.proposer || marks.holds.has(org),
      refusal: marks.refusals.get(org) ?? '',
    })),
    previousApprovedId: NOTHING,
  };
}

/** With everything. `receipts`: the organisations that gave one, by the digest (hexadecimal) of what it is for. */
export function fullView(
  summary: Proposal,
  stored: StoredProposal,
  votes: readonly StoredVote[],
  judgement: Judgement,
  receipts: ReadonlyMap<string, readonly string[]>,
  previousApprovedId: Uint8Array,
): Proposal {
  const approvals = votes.filter(({ kind }) => kind === 'approve').length;
  const repeats = approvals * stored.statement.length <= MAX_REPEATED_PAYLOAD_BYTES;
  const cast = (org: string): CastVote[] =>
    votes.flatMap((vote, place) => {
      if (vote.org !== org) return [];
      const finding = judgement.votes[place] ?? { counts: false, whyNot: '', approver: '' };
      const { envelope } = vote;
      return [
        {
          kind: VOTE_KINDS[vote.kind],
          keyId: Buffer.from(vote.keyId, 'hex'),
          approver: finding.approver,
          reason: vote.reason,
          receiveTimeMs: BigInt(vote.receiveMs),
          counts: finding.counts,
          whyNot: finding.whyNot,
          receipts: receipts.get(vote.envelopeSha256.toString('hex')) ?? [],
          envelope: vote.kind === 'approve' && !repeats ? { ...envelope, payload: NOTHING } : envelope,
        },
      ];
    });
  const standings = summary.standings.map((standing: Standing) => ({ ...standing, votes: cast(standing.org) }));
  return { ...summary, statement: stored.statement, standings, previousApprovedId };
}
