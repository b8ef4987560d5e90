import { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { key, prefixed } from '../../store/keys.js';
import { judge } from '../quorum/judge.js';
import type { FinalState, Judgement } from '../quorum/types.js';
import type { Desk, Marks } from './desk.js';
import { rowsOf } from './scans.js';
import type { Step } from './step.js';
import { encodeProposal, type ProposalEnd, STATES, type StoredProposal } from './stored-proposal.js';
import type { StoredVote } from './stored-vote.js';
import { TABLE } from './tables.js';
import { summaryOf } from './views.js';

/** What a proposal and what is around it will be once a step is committed. */
export interface Settling {
  readonly stored: StoredProposal;
  readonly votes: readonly StoredVote[];
  readonly marks: Marks;
  /** Ended by its proposer, for this reason. */
  readonly withdrawn?: string;
}

/**
 * Counts a proposal and puts into the step what follows from that: its end, what is approved by it, and what lists and watchers are told.
 * A proposal that has ended stays as it ended.
 */
export async function settle(desk: Desk, step: Step, settling: Settling): Promise<Proposal> {
  const { stored, votes, marks, withdrawn } = settling;
  const judgement = judge(stored.facts, votes, desk.options.directory, step.nowMs, stored.end);
  const end = stored.end ?? endOf(desk, step, judgement, votes.length, withdrawn);
  const settled = { ...stored, end };
  const summary = summaryOf(settled, judgement, marks, desk.options.org);
  step.change.put(TABLE.summary, key(stored.number), Buffer.from(Proposal.encode(summary).finish()));
  step.change.put(TABLE.proposal, stored.id, encodeProposal(settled));
  if (!end) step.change.put(TABLE.open, stored.id, key(stored.number));
  if (end && !stored.end) await close(desk, step, settled, end, withdrawn ?? judgement.why);
  step.after(() => {
    if (end) desk.index.remove(stored.id.toString('hex'));
    else desk.index.set(stored.id, stored.number, summary);
    desk.watchers.note(summary);
  });
  return summary;
}

/**
 * A registry that does not even know us knows nothing, and whose snapshot is over nobody is active: neither ends a proposal for ever.
 */
function isBlind({ directory, org }: Desk['options']): boolean {
  if (!directory.of(org)) return true;
  for (const { active } of directory.all()) if (active) return false;
  return true;
}

function endOf(
  { options }: Desk,
  { nowMs }: Step,
  judgement: Judgement,
  votes: number,
  withdrawn: string | undefined,
): ProposalEnd | undefined {
  const end = (state: FinalState): ProposalEnd => ({
    state,
    timeMs: nowMs,
    votes,
    counted: judgement.orgs.flatMap(({ countedKeys }) => countedKeys),
  });
  if (withdrawn !== undefined) return end('withdrawn');
  const blind = judgement.state === 'rejected' && isBlind(options);
  return judgement.state === 'open' || blind ? undefined : end(judgement.state);
}

/** What becomes true with the end of a proposal. */
async function close(desk: Desk, step: Step, stored: StoredProposal, end: ProposalEnd, why: string): Promise<void> {
  const { id, facts, number } = stored;
  step.change.remove(TABLE.open, id);
  step.change.removeRange(TABLE.files, prefixed(id));
  step.log(id, desk.options.org, {
    $case: 'state',
    value: { state: STATES[end.state], why, counted: end.counted.map(keyId => Buffer.from(keyId, 'hex')) },
  });
  if (end.state === 'approved') {
    step.change.put(TABLE.release, key(facts.proposer, facts.project, facts.sequence), id);
    step.change.put(TABLE.artifact, key(Buffer.from(facts.artifact.sha256, 'hex'), number), id);
    for await (const row of rowsOf(desk.store, TABLE.files, prefixed(id))) {
      if (row.damaged) desk.event({ kind: 'row-damaged', table: TABLE.files, key: row.key.toString('hex') });
      else for (const digest of digestsIn(row.value)) step.change.put(TABLE.file, digest, id);
    }
  }
  const proposal = id.toString('hex');
  step.after(() => desk.event({ kind: 'proposal', proposal, state: end.state, why }));
}

/** Digests of files that one row holds. */
const DIGESTS_A_ROW = 1_024;

/** Notes the files of a package until it is known whether they are approved. */
export function putFiles(step: Step, id: Buffer, files: readonly Buffer[]): void {
  for (let at = 0; at < files.length; at += DIGESTS_A_ROW) {
    step.change.put(TABLE.files, key(id, at), Buffer.concat(files.slice(at, at + DIGESTS_A_ROW)));
  }
}

function* digestsIn(value: Buffer): Generator<Buffer> {
  for (let at = 0; at + 32 <= value.length; at += 32) yield value.subarray(at, at + 32);
}
