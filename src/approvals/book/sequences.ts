import { ApprovalSequenceRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import { key, prefixed } from '../../store/keys.js';
import type { ProposalFacts } from '../types.js';
import type { Desk } from './desk.js';
import { isDamage } from './scans.js';
import type { Step } from './step.js';
import { TABLE } from './tables.js';

type Project = Pick<ProposalFacts, 'proposer' | 'project'>;

/** What a restored store may have forgotten: the sequence goes on so much higher, so that others do not take it for an old one. */
export const SEQUENCES_SKIPPED_BY_RESTORE = 1_000;

/** The highest sequence of a project that was seen. A row that is damaged tells nothing. */
export async function readSequence(
  desk: Desk,
  { proposer, project }: Project,
): Promise<{ readonly sequence: number; readonly timeMs: number }> {
  try {
    const value = await desk.store.get(TABLE.sequence, key(proposer, project));
    if (!value) return { sequence: 0, timeMs: 0 };
    const { sequence, timeMs } = ApprovalSequenceRow.decode(value);
    return { sequence: Number(sequence), timeMs: Number(timeMs) };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const rowKey = key(proposer, project).toString('hex');
    desk.event({ kind: 'row-damaged', table: TABLE.sequence, key: rowKey });
    return { sequence: await highestHeld(desk, { proposer, project }), timeMs: 0 };
  }
}

/** The sequence of the next proposal of a project of the own organisation. */
export async function nextSequence(desk: Desk, project: Project): Promise<number> {
  const { sequence, timeMs } = await readSequence(desk, project);
  return sequence + 1 + (desk.store.restoredMs > timeMs ? SEQUENCES_SKIPPED_BY_RESTORE : 0);
}

export function writeSequence({ change, nowMs }: Step, { proposer, project, sequence }: ProposalFacts): void {
  const row = { sequence: BigInt(sequence), timeMs: BigInt(nowMs) };
  change.put(TABLE.sequence, key(proposer, project), Buffer.from(ApprovalSequenceRow.encode(row).finish()));
}

/** The id of the newest approved proposal of a project that is older than this one. */
export async function previousApproved(
  { store }: Desk,
  { proposer, project, sequence }: ProposalFacts,
): Promise<Buffer> {
  const range = { from: key(proposer, project), to: key(proposer, project, sequence) };
  for (const row of await store.scan(TABLE.release, { ...range, limit: 16, reverse: true })) {
    if (!row.damaged) return row.value;
  }
  return Buffer.alloc(0);
}

/** Of those that are open or were approved. */
async function highestHeld(desk: Desk, { proposer, project }: Project): Promise<number> {
  const range = prefixed(key(proposer, project));
  const [newest] = await desk.store.scan(TABLE.release, { ...range, limit: 1, reverse: true });
  let highest = newest ? Number(newest.key.readBigUInt64BE(newest.key.length - 8)) : 0;
  for (const { summary } of desk.index.newestFirst()) {
    if (summary.proposer === proposer && summary.project === project) {
      highest = Math.max(highest, Number(summary.sequence));
    }
  }
  return highest;
}
