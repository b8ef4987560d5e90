import type { Envelope as EnvelopeMessage } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { ApprovalEarlyRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import type { OrgName } from '../../identity/names.js';
import { key, numberAt, prefixed } from '../../store/keys.js';
import type { Change, Store } from '../../store/store.js';
import type { BookEvent, BookLimits } from './options.js';
import { readRow, rowsOf } from './scans.js';
import type { Step } from './step.js';
import { TABLE } from './tables.js';

/** A vote that waits for its proposal, or for its key in the registry. */
export interface EarlyVote {
  readonly rowKey: Buffer;
  readonly org: OrgName;
  readonly receiveMs: number;
  readonly envelope: EnvelopeMessage;
}

interface Waiting {
  readonly rowKey: Buffer;
  readonly bytes: number;
}

/** Votes that came before what they need, by the organisation that sent them, oldest first: so many of each, and then the oldest go. */
export class EarlyVotes {
  readonly #store: Store;
  readonly #limits: Pick<BookLimits, 'earlyPerOrg' | 'earlyBytesPerOrg'>;
  readonly #onEvent: (event: BookEvent) => void;
  readonly #waiting = new Map<string, Map<string, Waiting>>();
  #next = 1;

  constructor(
    store: Store,
    limits: Pick<BookLimits, 'earlyPerOrg' | 'earlyBytesPerOrg'>,
    onEvent: (event: BookEvent) => void,
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#onEvent = onEvent;
  }

  async load(): Promise<void> {
    const found: { readonly number: number; readonly org: string; readonly waiting: Waiting }[] = [];
    for await (const row of rowsOf(this.#store, TABLE.early)) {
      const number = numberAt(row.key, 16);
      this.#next = Math.max(this.#next, number + 1);
      const early = readRow(row, value => ApprovalEarlyRow.decode(value));
      if (early) {
        const waiting = { rowKey: row.key, bytes: row.value.length };
        found.push({ number, org: early.org, waiting });
      } else this.#onEvent({ kind: 'row-damaged', table: TABLE.early, key: row.key.toString('hex') });
    }
    for (const { org, waiting } of found.sort((a, b) => a.number - b.number)) this.#add(org, waiting);
  }

  /** Proposals that votes wait for. */
  proposals(): Buffer[] {
    const ids = new Map<string, Buffer>();
    for (const waiting of this.#waiting.values()) {
      for (const { rowKey } of waiting.values()) {
        const id = rowKey.subarray(0, 16);
        ids.set(id.toString('hex'), id);
      }
    }
    return [...ids.values()];
  }

  /** Keeps a vote as part of a step. */
  keep(step: Step, id: Buffer, org: OrgName, receiveMs: number, envelope: EnvelopeMessage): void {
    const rowKey = key(id, this.#next++);
    const value = Buffer.from(ApprovalEarlyRow.encode({ org, receiveMs: BigInt(receiveMs), envelope }).finish());
    step.change.put(TABLE.early, rowKey, value);
    const dropped = this.#makeRoom(step.change, org, value.length);
    step.after(() => {
      for (const { rowKey: gone } of dropped) this.#forget(org, gone);
      this.#add(org, { rowKey, bytes: value.length });
      if (dropped.length > 0) this.#onEvent({ kind: 'early-dropped', org, votes: dropped.length });
      else this.#onEvent({ kind: 'vote-early', org, proposal: id.toString('hex') });
    });
  }

  /** Those of a proposal, oldest first. */
  async of(id: Buffer): Promise<EarlyVote[]> {
    const found: EarlyVote[] = [];
    for await (const row of rowsOf(this.#store, TABLE.early, prefixed(id))) {
      const early = readRow(row, value => ApprovalEarlyRow.decode(value));
      if (!early?.envelope) continue;
      const { org, receiveMs, envelope } = early;
      found.push({ rowKey: row.key, org: org as OrgName, receiveMs: Number(receiveMs), envelope });
    }
    return found;
  }

  /** One that is looked at for the last time. */
  remove(step: Step, { org, rowKey }: EarlyVote): void {
    step.change.remove(TABLE.early, rowKey);
    step.after(() => this.#forget(org, rowKey));
  }

  /** The oldest ones that must go so that one more has room. */
  #makeRoom(change: Change, org: string, bytes: number): Waiting[] {
    const held = [...(this.#waiting.get(org)?.values() ?? [])];
    let sum = held.reduce((all, one) => all + one.bytes, bytes);
    let count = held.length + 1;
    const dropped: Waiting[] = [];
    for (const one of held) {
      if (count <= this.#limits.earlyPerOrg && sum <= this.#limits.earlyBytesPerOrg) break;
      change.remove(TABLE.early, one.rowKey);
      dropped.push(one);
      count--;
      sum -= one.bytes;
    }
    return dropped;
  }

  #add(org: string, waiting: Waiting): void {
    const held = this.#waiting.get(org) ?? new Map<string, Waiting>();
    this.#waiting.set(org, held);
    held.set(waiting.rowKey.toString('hex'), waiting);
  }

  #forget(org: string, rowKey: Buffer): void {
    const held = this.#waiting.get(org);
    held?.delete(rowKey.toString('hex'));
    if (held?.size === 0) this.#waiting.delete(org);
  }
}
