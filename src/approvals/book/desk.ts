import { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';
import { key, prefixed } from '../../store/keys.js';
import type { Store } from '../../store/store.js';
import type { EarlyVotes } from './early-votes.js';
import type { ApprovalLog } from './log.js';
import type { Muting } from './muting.js';
import type { OpenIndex } from './open-index.js';
import type { BookEvent, BookLimits, BookOptions, Clock } from './options.js';
import { isDamage, readRow, rowsOf } from './scans.js';
import { decodeProposal, type StoredProposal } from './stored-proposal.js';
import { decodeVote, type StoredVote } from './stored-vote.js';
import { TABLE } from './tables.js';
import type { Watchers } from './watchers.js';

/** What everybody who works on the book needs. Rows are read here; steps write them. */
export interface Desk {
  readonly options: BookOptions;
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: BookLimits;
  readonly log: ApprovalLog;
  readonly index: OpenIndex;
  readonly early: EarlyVotes;
  readonly watchers: Watchers;
  readonly muting: Muting;
  /** The number of the next proposal. */
  nextNumber: number;
  /** Looks again when something is over by then. */
  wakeBy(timeMs: number): void;
  event(event: BookEvent): void;
}

/** The votes of a proposal, in the order in which they came. */
export interface StoredVotes {
  readonly votes: readonly StoredVote[];
  /** The number of the next one: damaged ones keep theirs. */
  readonly next: number;
}

/** Rejects with STORE_DAMAGED for one whose row is damaged. */
export async function findProposal(desk: Pick<Desk, 'store'>, id: Buffer): Promise<StoredProposal | undefined> {
  const value = id.length === 16 ? await desk.store.get(TABLE.proposal, id) : undefined;
  if (!value) return undefined;
  try {
    return decodeProposal(id, value);
  } catch (cause) {
    throw new FedgateError('STORE_DAMAGED', `the row of proposal ${id.toString('hex')} is not one`, { cause });
  }
}

/** Rejects with PROPOSAL_UNKNOWN, STORE_DAMAGED. */
export async function needProposal(desk: Pick<Desk, 'store'>, id: Buffer): Promise<StoredProposal> {
  const stored = await findProposal(desk, id);
  if (stored) return stored;
  throw new FedgateError('PROPOSAL_UNKNOWN', `there is no proposal ${id.subarray(0, 16).toString('hex')} here`, {
    metadata: { proposal: id.subarray(0, 16).toString('hex') },
  });
}

export async function readVotes(desk: Desk, { id, statement }: StoredProposal): Promise<StoredVotes> {
  const votes: StoredVote[] = [];
  let next = 1;
  for await (const row of rowsOf(desk.store, TABLE.vote, prefixed(id))) {
    next = Number(row.key.readBigUInt64BE(16)) + 1;
    const vote = readRow(row, value => decodeVote(value, statement));
    if (vote) votes.push(vote);
    else desk.event({ kind: 'row-damaged', table: TABLE.vote, key: row.key.toString('hex') });
  }
  return { votes, next };
}

/** The organisations that gave receipts, by the digest (hexadecimal) of what they are for. Their keys say so: the rows need not be whole. */
export async function readReceipts(desk: Desk, id: Buffer): Promise<Map<string, string[]>> {
  const receipts = new Map<string, string[]>();
  for await (const { key: rowKey } of rowsOf(desk.store, TABLE.receipt, prefixed(id))) {
    const of = rowKey.subarray(16, 48).toString('hex');
    const orgs = receipts.get(of) ?? [];
    orgs.push(rowKey.subarray(48, -1).toString());
    receipts.set(of, orgs);
  }
  return receipts;
}

/** What is known about the other gateways and a proposal. */
export interface Marks {
  /** Organisations that said that they hold it. */
  readonly holds: ReadonlySet<string>;
  /** Why an organisation does not take it. */
  readonly refusals: ReadonlyMap<string, string>;
}

export const NO_MARKS: Marks = { holds: new Set(), refusals: new Map() };

/** From what lists show, or else from the receipts: what was refused is lost with a damaged row, and only shown. */
export async function readMarks(desk: Desk, stored: StoredProposal): Promise<Marks> {
  const known = desk.index.get(stored.id)?.summary ?? (await readSummary(desk, stored.number));
  if (known) return marksOf(known);
  const receipts = await readReceipts(desk, stored.id);
  return { ...NO_MARKS, holds: new Set(receipts.get(stored.sha256.toString('hex'))) };
}

export async function readSummary(desk: Desk, number: number): Promise<Proposal | undefined> {
  try {
    const value = await desk.store.get(TABLE.summary, key(number));
    return value && Proposal.decode(value);
  } catch (error) {
    if (error instanceof FedgateError && !isDamage(error)) throw error;
    desk.event({ kind: 'row-damaged', table: TABLE.summary, key: key(number).toString('hex') });
    return undefined;
  }
}

const marksOf = ({ standings }: Proposal): Marks => ({
  holds: new Set(standings.filter(({ holds }) => holds).map(({ org }) => org)),
  refusals: new Map(standings.filter(({ refusal }) => refusal !== '').map(({ org, refusal }) => [org, refusal])),
});
