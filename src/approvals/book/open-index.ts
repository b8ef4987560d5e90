import { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';
import { lastVoteMs } from '../quorum/eligibility.js';
import type { BookLimits } from './options.js';

/** An open proposal, as far as lists show it. */
export interface OpenEntry {
  readonly id: Buffer;
  readonly number: number;
  readonly summary: Proposal;
  readonly bytes: number;
}

interface Tally {
  count: number;
  bytes: number;
}

/** What is open, in memory: what has ended is only on the disk. */
export class OpenIndex {
  readonly #limits: Pick<BookLimits, 'openPerOrg' | 'openBytesPerOrg'>;
  /** In the order of their numbers. */
  readonly #entries = new Map<string, OpenEntry>();
  readonly #tallies = new Map<string, Tally>();

  constructor(limits: Pick<BookLimits, 'openPerOrg' | 'openBytesPerOrg'>) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(id: Buffer): OpenEntry | undefined {
    return this.#entries.get(id.toString('hex'));
  }

  /** Newest first. */
  newestFirst(): OpenEntry[] {
    return [...this.#entries.values()].reverse();
  }

  /** Throws LIMIT_REACHED when a proposer has as many open as it may, or so much is said in them. */
  checkRoom(proposer: string): void {
    const { count, bytes } = this.#tallies.get(proposer) ?? { count: 0, bytes: 0 };
    const { openPerOrg, openBytesPerOrg } = this.#limits;
    if (count < openPerOrg && bytes < openBytesPerOrg) return;
    throw new FedgateError('LIMIT_REACHED', `${proposer} has ${count} open proposals`, {
      metadata: { limit: 'open proposals' },
    });
  }

  /** Takes what is committed; new ones come in the order of their numbers. */
  set(id: Buffer, number: number, summary: Proposal): void {
    const name = id.toString('hex');
    this.remove(name, false);
    const entry = { id, number, summary, bytes: Proposal.encode(summary).finish().length };
    this.#entries.set(name, entry);
    const tally = this.#tallies.get(summary.proposer) ?? { count: 0, bytes: 0 };
    tally.count++;
    tally.bytes += entry.bytes;
    this.#tallies.set(summary.proposer, tally);
  }

  /** `gone`: false keeps its place for what replaces it. */
  remove(name: string, gone = true): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    if (gone) this.#entries.delete(name);
    const tally = this.#tallies.get(entry.summary.proposer);
    if (!tally) return;
    tally.count--;
    tally.bytes -= entry.bytes;
    if (tally.count === 0) this.#tallies.delete(entry.summary.proposer);
  }

  /** When an open one expires. */
  nextEndOf(id: Buffer): number {
    const entry = this.get(id);
    return entry ? endMs(entry.summary) : Number.POSITIVE_INFINITY;
  }

  /** When the next one expires. */
  nextEndMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { summary } of this.#entries.values()) next = Math.min(next, endMs(summary));
    return next;
  }

  /** Those whose time is over. */
  over(nowMs: number): OpenEntry[] {
    return [...this.#entries.values()].filter(({ summary }) => endMs(summary) <= nowMs);
  }
}

/** The first instant at which a proposal is over. */
const endMs = ({ notAfterMs }: Proposal): number => lastVoteMs({ notAfterMs: Number(notAfterMs) }) + 1;
