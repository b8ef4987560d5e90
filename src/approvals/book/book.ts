import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import type { OrgName } from '../../identity/names.js';
import { prefixed } from '../../store/keys.js';
import type { Change } from '../../store/store.js';
import type { ApprovalBook, CountedApproval, Envelope, ProposalDraft, ProposalFilter } from '../types.js';
import { Chores } from './chores.js';
import { countedApproval } from './counted.js';
import type { Desk } from './desk.js';
import { EarlyVotes } from './early-votes.js';
import { Inbox } from './inbox.js';
import { list, type Page } from './lists.js';
import { loadOpen } from './load.js';
import { ApprovalLog } from './log.js';
import { Muting } from './muting.js';
import { propose } from './new-proposal.js';
import { draining, OneByOne } from './one-by-one.js';
import { OpenIndex } from './open-index.js';
import { type BookEvent, type BookOptions, DEFAULT_BOOK_LIMITS, SYSTEM_CLOCK } from './options.js';
import { castOwn } from './own-votes.js';
import { recallOwn } from './recalls.js';
import { view } from './standing.js';
import { Step } from './step.js';
import { TABLE } from './tables.js';
import { watch } from './watch.js';
import { Watchers } from './watchers.js';

/** Everything that a gateway knows of proposals: rows of the store, changed by one step after the other. */
export class Book implements ApprovalBook {
  readonly #desk: Desk;
  readonly #inbox: Inbox;
  readonly #turns = new OneByOne();
  readonly #chores: Chores;
  readonly #stops: (() => void)[] = [];

  private constructor(desk: Omit<Desk, 'wakeBy'>, inbox: Inbox) {
    this.#desk = Object.assign(desk, { wakeBy: (timeMs: number) => this.#chores.wakeBy(timeMs) });
    this.#inbox = inbox;
    this.#chores = new Chores(this.#desk, inbox, this.#turns);
  }

  /** Reads what is open and goes on with what waits. Rejects with STORE_*; damaged rows are only reported. */
  static async open(options: BookOptions): Promise<Book> {
    const { store, clock = SYSTEM_CLOCK } = options;
    const limits = { ...DEFAULT_BOOK_LIMITS, ...options.limits };
    const event = (what: BookEvent): void => options.onEvent?.(what);
    const muting = new Muting(event);
    const early = new EarlyVotes(store, limits, what => {
      // One that floods is not worth a line for each.
      if (!('org' in what) || muting.allows(`${what.org} early`, clock.now())) event(what);
    });
    const log = await ApprovalLog.open(store, event);
    const index = new OpenIndex(limits);
    const watchers = new Watchers();
    const desk = { options, store, clock, limits, log, index, early, watchers, muting, nextNumber: 1, event };
    const book = new Book(desk, new Inbox(store, limits, event));
    await book.#load();
    return book;
  }

  async #load(): Promise<void> {
    const { early, store, options } = this.#desk;
    await early.load();
    await this.#inbox.load();
    await loadOpen(this.#desk);
    this.#stops.push(options.directory.onChange(() => this.#chores.directoryChanged()));
    this.#stops.push(store.onHealth(({ state }) => state === 'ok' && this.#chores.kick()));
    this.#chores.start();
  }

  // ---- what nodes ask for -------------------------------------------------------------------------------------------------------

  propose(draft: ProposalDraft): Promise<Proposal> {
    return this.#turns.run(async () => {
      const id = await this.#step(step => propose(this.#desk, step, draft));
      return view(this.#desk, id);
    });
  }

  vote(envelope: Envelope): Promise<{ readonly proposal: Proposal; readonly duplicate: boolean }> {
    return this.#turns.run(async () => {
      const { id, duplicate } = await this.#step(step => castOwn(this.#desk, step, envelope));
      return { proposal: await view(this.#desk, id), duplicate };
    });
  }

  withdraw(id: Buffer, reason: string): Promise<Proposal> {
    return this.#turns.run(async () => {
      await this.#step(step => recallOwn(this.#desk, step, id, reason));
      return view(this.#desk, id);
    });
  }

  get(id: Buffer): Promise<Proposal> {
    return view(this.#desk, id);
  }

  list(filter: ProposalFilter, after: Buffer | undefined, limit: number): Promise<Page> {
    return list(this.#desk, filter, after, limit);
  }

  watch(
    filter: Omit<ProposalFilter, 'state'> & { readonly id: Buffer | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<Proposal> {
    return watch(this.#desk, filter, signal, this.#turns.stopped);
  }

  approval(of: { readonly id: Buffer } | { readonly artifactSha256: Buffer }): Promise<CountedApproval> {
    return countedApproval(this.#desk, of);
  }

  /** Damaged rows are rows that were there: their keys say what is approved. */
  async isApproved(sha256: Buffer): Promise<boolean> {
    if (sha256.length !== 32) return false;
    for (const table of [TABLE.artifact, TABLE.file]) {
      const [row] = await this.#desk.store.scan(table, { ...prefixed(sha256), limit: 1 });
      if (row) return true;
    }
    return false;
  }

  log(
    from: number,
    signal: AbortSignal,
  ): AsyncIterable<{ readonly index: number; readonly entry: Buffer; readonly hash: Buffer }> {
    return this.#desk.log.read(from, signal);
  }

  // ---- what other gateways say --------------------------------------------------------------------------------------------------

  /** What is returned is to be called once the change is committed. */
  receive(from: OrgName, exchanges: readonly Uint8Array[], change: Change): () => void {
    if (this.#turns.stopped.aborted) throw draining();
    try {
      this.#inbox.put(change, from, exchanges, this.#desk.clock.now());
    } catch (error) {
      // What was counted for a change that then failed must not stand in the way for ever.
      this.#chores.kick();
      throw error;
    }
    return () => {
      this.#inbox.note(from);
      this.#chores.kick();
    };
  }

  /** Nothing begins any more. Resolves when nothing is under way. */
  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#chores.stop();
    await this.#turns.stop();
  }

  /** Resolves when nothing is under way that is not waited for by its caller. */
  async idle(): Promise<void> {
    while (!(await this.#turns.idle()) || this.#chores.busy) await new Promise(resolve => setImmediate(resolve));
  }

  async #step<T>(fill: (step: Step) => Promise<T>): Promise<T> {
    const step = new Step(this.#desk);
    const value = await fill(step);
    await step.commit();
    return value;
  }
}
