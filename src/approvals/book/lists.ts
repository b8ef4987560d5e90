import { Proposal, ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { fieldError } from '../../errors.js';
import { key, numberAt } from '../../store/keys.js';
import type { ProposalFilter } from '../types.js';
import type { Desk } from './desk.js';
import { readRow } from './scans.js';
import { TABLE } from './tables.js';

/** Rows that one page looks at for those that match. A page may be empty and not be the last. */
export const MAX_ROWS_A_PAGE = 20_000;
const ROWS_A_SCAN = 256;

export interface Page {
  readonly proposals: readonly Proposal[];
  readonly last: Buffer | undefined;
}

export function list(desk: Desk, filter: ProposalFilter, after: Buffer | undefined, limit: number): Promise<Page> {
  if (after && after.length !== 8) return Promise.reject(fieldError('page_token', 'is none that was given out here'));
  const behind = after ? numberAt(after, 0) : Number.MAX_SAFE_INTEGER;
  if (filter.state === ProposalState.PROPOSAL_STATE_OPEN) return Promise.resolve(listOpen(desk, filter, behind, limit));
  return listAll(desk, filter, behind, limit);
}

/** From memory. */
function listOpen(desk: Desk, filter: ProposalFilter, behind: number, limit: number): Page {
  const proposals: Proposal[] = [];
  let lastNumber = 0;
  for (const { number, summary } of desk.index.newestFirst()) {
    if (number >= behind || !matches(filter, summary)) continue;
    if (proposals.length === limit) return { proposals, last: key(lastNumber) };
    proposals.push(summary);
    lastNumber = number;
  }
  return { proposals, last: undefined };
}

/** What is open from memory, and what has ended from the disk. */
async function listAll(desk: Desk, filter: ProposalFilter, behind: number, limit: number): Promise<Page> {
  const proposals: Proposal[] = [];
  let looked = 0;
  let last = behind;
  for await (const { number, summary } of newestFirst(desk, Math.min(behind, desk.nextNumber))) {
    const full = proposals.length === limit || looked === MAX_ROWS_A_PAGE;
    if (full) return { proposals, last: key(last) };
    looked++;
    last = number;
    if (summary && matches(filter, summary)) proposals.push(summary);
  }
  return { proposals, last: undefined };
}

interface Listed {
  readonly number: number;
  /** Undefined: its row is damaged. */
  readonly summary: Proposal | undefined;
}

/** Those with a lower number. Numbers have no gaps: what is not open in memory has ended, and is on the disk. */
async function* newestFirst(desk: Desk, behind: number): AsyncGenerator<Listed> {
  let above = behind;
  for (const { number, summary } of desk.index.newestFirst()) {
    if (number >= above) continue;
    if (above - number > 1) yield* ended(desk, number + 1, above);
    yield { number, summary };
    above = number;
  }
  yield* ended(desk, 0, above);
}

/** Rows with numbers in [from, to), newest first. */
async function* ended(desk: Desk, from: number, to: number): AsyncGenerator<Listed> {
  let end = key(to);
  for (;;) {
    const range = { from: key(from), to: end, limit: ROWS_A_SCAN, reverse: true };
    const rows = await desk.store.scan(TABLE.summary, range);
    for (const row of rows) {
      const summary = readRow(row, value => Proposal.decode(value));
      if (!summary) desk.event({ kind: 'row-damaged', table: TABLE.summary, key: row.key.toString('hex') });
      yield { number: numberAt(row.key, 0), summary };
    }
    const first = rows.at(-1);
    if (!first || rows.length < ROWS_A_SCAN) return;
    end = first.key;
  }
}

export function matches(
  { state, proposer, project }: ProposalFilter,
  proposal: Pick<Proposal, 'state' | 'proposer' | 'project'>,
): boolean {
  return (
    (state === ProposalState.PROPOSAL_STATE_UNSPECIFIED || proposal.state === state) &&
    (proposer === '' || proposal.proposer === proposer) &&
    (project === '' || proposal.project === project)
  );
}
