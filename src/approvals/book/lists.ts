import { Proposal, ProposalState } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { fieldError } from '../../errors.js';
import { key, numberAt } from '../../store/keys.js';
import type { ProposalFilter } from '../types.js';
import type { Desk } from './desk.js';
import { readRow } from './scans.js';
import { TABLE } from './tables.js';

/** Rows that one page looks at for those that match. A page may be empty and not be the last. */
export const MAX_ROWS_A_PAGE = 20_000;
const ROWS_A_SCAN = 1_000;

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

/** From the disk; what is open need not be read again. */
async function listAll(desk: Desk, filter: ProposalFilter, behind: number, limit: number): Promise<Page> {
  const proposals: Proposal[] = [];
  let to = key(behind);
  for (let looked = 0; looked < MAX_ROWS_A_PAGE; looked += ROWS_A_SCAN) {
    const rows = await desk.store.scan(TABLE.summary, { to, limit: ROWS_A_SCAN, reverse: true });
    for (const row of rows) {
      if (proposals.length === limit) return { proposals, last: to };
      to = row.key;
      const open = desk.index.ofNumber(numberAt(row.key, 0))?.summary;
      const summary = open ?? readRow(row, value => Proposal.decode(value));
      if (!summary) desk.event({ kind: 'row-damaged', table: TABLE.summary, key: row.key.toString('hex') });
      else if (matches(filter, summary)) proposals.push(summary);
    }
    if (rows.length < ROWS_A_SCAN) return { proposals, last: undefined };
  }
  return { proposals, last: to };
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
