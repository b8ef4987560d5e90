import type { CastVote, Proposal, Standing } from '../../../client/index.js';
import { escapeControls } from '../../../text.js';
import { formatCount } from '../../counts.js';
import { formatDuration } from '../../duration.js';
import { table } from '../../env.js';
import { formatBytes } from '../../progress.js';
import { ago, isoTime } from '../../times.js';

/** How proposals are shown. Names, notes and reasons come from others: what would draw on the terminal, or turn its direction, is escaped. */

/** Digits of an id that are shown in lists: as an id they are taken by every command. */
const SHORT_ID = 12;

export const shortId = (id: string): string => id.slice(0, SHORT_ID);

export function proposalsTable(proposals: readonly Proposal[], nowMs: number): string {
  const rows = proposals.map(proposal => [
    shortId(proposal.id),
    proposal.proposer,
    proposal.project,
    proposal.version,
    proposal.state,
    `${proposal.approved} of ${proposal.threshold}`,
    proposal.rejected > 0 ? formatCount(proposal.rejected) : '-',
    ago(BigInt(proposal.createTimeMs), nowMs),
    untilText(proposal, nowMs),
  ]);
  return table([
    ['PROPOSAL', 'PROPOSER', 'PROJECT', 'VERSION', 'STATE', 'APPROVED', 'REJECTED', 'MADE', 'VOTES UNTIL'],
    ...rows,
  ]);
}

function untilText({ state, notBeforeMs, notAfterMs }: Proposal, nowMs: number): string {
  if (state !== 'open') return '-';
  if (notBeforeMs > nowMs) return `begins in ${formatDuration(notBeforeMs - nowMs)}`;
  return notAfterMs > nowMs ? `in ${formatDuration(notAfterMs - nowMs)}` : 'is over';
}

/** One line: how it stands. */
export function stateText({ state, approved, rejected, threshold, stateTimeMs }: Proposal, nowMs: number): string {
  const counts = `${approved} of ${threshold} have approved${rejected > 0 ? `, ${rejected} rejected` : ''}`;
  return state === 'open' ? `open: ${counts}` : `${state} ${ago(BigInt(stateTimeMs), nowMs)}: ${counts}`;
}

/** One line for a proposal that changed. */
export function changeLine(proposal: Proposal, nowMs: number): string {
  const { id, proposer, project, version } = proposal;
  const state = `${stateText(proposal, nowMs)}${proposal.state === 'open' ? `; ${holdersText(proposal)}` : ''}`;
  return `${isoTime(nowMs)}  ${shortId(id)}  ${proposer}  ${project} ${version}  ${state}`;
}

const holdersText = ({ standings }: Proposal): string =>
  `${standings.filter(({ holds }) => holds).length} of ${standings.length} organisations hold it`;

/** What the statement says: all that an approver puts their name to. */
export function statementRows(proposal: Proposal): string[][] {
  const { artifact, standings, threshold, note, links } = proposal;
  const voters = standings.map(({ org, required }) => (required > 1 ? `${org} (${required} of its own)` : org));
  return [
    ['proposal', proposal.id],
    [
      'project',
      `${proposal.project} ${proposal.version}, number ${formatCount(proposal.sequence)} of ${proposal.proposer}`,
    ],
    [
      'artifact',
      `${escapeControls(artifact.name)} (${artifact.kind === 'package' ? 'checksum list of a package' : 'file'})`,
    ],
    ['size', `${formatBytes(artifact.size)} (${formatCount(artifact.size)} bytes)`],
    ['SHA-256', artifact.sha256],
    ['approvers', `${threshold} of ${voters.join(', ')}`],
    ['votes', `count from ${isoTime(proposal.notBeforeMs)} to ${isoTime(proposal.notAfterMs)}`],
    ...linesOf(note).map((line, i) => [i === 0 ? 'note' : '', line]),
    ...links.map(link => ['link', escapeControls(link)]),
  ];
}

/** A note may have several lines; each is escaped by itself. */
const linesOf = (note: string): string[] => (note === '' ? [] : note.split(/\r?\n/).map(escapeControls));

export function describeProposal(proposal: Proposal, nowMs: number): string {
  const { artifact, previousApprovedId, statementSha256, createTimeMs } = proposal;
  return [
    table([
      ...statementRows(proposal),
      ['statement', `SHA-256 ${statementSha256}`],
      ['state', stateText(proposal, nowMs)],
      ['made', ago(BigInt(createTimeMs), nowMs)],
      ['share', escapeControls(artifact.share)],
      ...(artifact.contentsShare ? [['contents', escapeControls(artifact.contentsShare)]] : []),
      ['approved before', previousApprovedId ?? 'nothing of this project'],
    ]),
    describeStandings(proposal, nowMs),
  ].join('\n\n');
}

/** Who has voted, and who has not. */
export function describeStandings({ standings }: Proposal, nowMs: number): string {
  const rows = standings.flatMap(standing => {
    const { org, decision = 'nothing yet', votes } = standing;
    const first = [org, decision, `${countOf(standing)} of ${standing.required}`, holdsText(standing)];
    if (votes.length === 0) return [[...first, '-']];
    return votes.map((vote, i) => [...(i === 0 ? first : ['', '', '', '']), voteText(vote, nowMs)]);
  });
  return table([['ORG', 'DECISION', 'APPROVERS', 'HOLDS IT', 'VOTES'], ...rows]);
}

const countOf = ({ votes }: Standing): number =>
  new Set(votes.filter(({ kind, counts }) => kind === 'approve' && counts).map(vote => vote.approver ?? vote.keyId))
    .size;

function holdsText({ holds, refusal }: Standing): string {
  if (refusal !== undefined) return `refuses: ${escapeControls(refusal)}`;
  return holds ? 'yes' : 'not yet';
}

const WORDS: { readonly [kind in CastVote['kind']]: string } = {
  approve: 'approved',
  reject: 'rejected',
  withdraw: 'withdrew the vote',
  unknown: 'cast a vote of an unknown kind',
};

function voteText(
  { kind, approver, keyId, reason, receiveTimeMs, counts, whyNot, receipts }: CastVote,
  nowMs: number,
): string {
  const who = approver === undefined ? `key ${shortId(keyId)}` : `${escapeControls(approver)} (${shortId(keyId)})`;
  const why = reason === '' ? '' : `: ${linesOf(reason).join(' / ')}`;
  const not =
    counts || kind === 'withdraw' ? '' : `; does not count${whyNot === undefined ? '' : `: ${escapeControls(whyNot)}`}`;
  const known = receipts.length === 0 ? '' : `; receipts of ${receipts.join(', ')}`;
  return `${who} ${WORDS[kind]} ${ago(BigInt(receiveTimeMs), nowMs)}${why}${not}${known}`;
}

export function proposalJson(proposal: Proposal): object {
  const { statement, stateTimeMs, createTimeMs, notBeforeMs, notAfterMs, standings, ...rest } = proposal;
  return {
    ...rest,
    stateTime: isoTime(stateTimeMs),
    createTime: isoTime(createTimeMs),
    notBefore: isoTime(notBeforeMs),
    notAfter: isoTime(notAfterMs),
    standings: standings.map(({ votes, ...standing }) => ({
      ...standing,
      votes: votes.map(({ receiveTimeMs, ...vote }) => ({ ...vote, receiveTime: isoTime(receiveTimeMs) })),
    })),
    ...(statement === undefined ? {} : { statement: statement.toString() }),
  };
}
