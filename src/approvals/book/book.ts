import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { numberAt, prefixed } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import { judge } from '../quorum/judge.js';
import type { ApprovalBook, CountedApproval, Envelope, ProposalDraft, ProposalFilter } from '../types.js';
import { countedApproval } from './counted.js';
import { type Desk, findProposal, needProposal, readMarks, readReceipts, readSummary, readVotes } from './desk.js';
import { EarlyVotes } from './early-votes.js';
import { Inbox } from './inbox.js';
import { lookAt, retryEarly } from './incoming.js';
import { list, matches, type Page } from './lists.js';
import { ApprovalLog } from './log.js';
import { Muting } from './muting.js';
import { propose } from './new-proposal.js';
import { OpenIndex } from './open-index.js';
import { type BookEvent, type BookOptions, type Clock, DEFAULT_BOOK_LIMITS, SYSTEM_CLOCK } from './options.js';
import { castOwn } from './own-votes.js';
import { recallOwn } from './recalls.js';
import { Recount } from './recount.js';
import { isDamage, readRow, rowsOf } from './scans.js';
import { previousApproved } from './sequences.js';
import { settle } from './settle.js';
import { Step } from './step.js';
import type { StoredProposal } from './stored-proposal.js';
import { TABLE } from './tables.js';
import { Timer } from './timer.js';
import { fullView, summaryOf } from './views.js';
import { Watcher, Watchers } from './watchers.js';

/** What the disk refused is tried again after so long. */
const RETRY_MS = 1_000;

/** Everything that a gateway knows of proposals: rows of the store, changed by one step after the other. */
export class Book implements ApprovalBook {
  readonly #desk: Desk;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #inbox: Inbox;
  readonly #recount: Recount;
  readonly #ends: Timer;
  readonly #retries: Timer;
  readonly #stopped = new AbortController();
  readonly #stops: (() => void)[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #looking = false;
  #lookAgain = false;
  /** Proposals whose early votes are to be looked at. */
  readonly #retryEarly = new Map<string, Buffer>();
  #recounting = false;

  private constructor(desk: Omit<Desk, 'wakeBy'>, inbox: Inbox) {
    this.#desk = Object.assign(desk, { wakeBy: (timeMs: number) => this.#ends.wake(timeMs) });
    this.#store = desk.store;
    this.#clock = desk.clock;
    this.#inbox = inbox;
    this.#recount = new Recount(this.#desk);
    this.#ends = new Timer(this.#clock, () => this.#expire());
    this.#retries = new Timer(this.#clock, () => this.#kick());
  }

  /** Reads what is open and goes on with what waits. Rejects with STORE_*; damaged rows are only reported. */
  static async open(options: BookOptions): Promise<Book> {
    const { store } = options;
    const clock = options.clock ?? SYSTEM_CLOCK;
    const limits = { ...DEFAULT_BOOK_LIMITS, ...options.limits };
    const event = (what: BookEvent): void => options.onEvent?.(what);
    const muting = new Muting(event);
    const early = new EarlyVotes(store, limits, what => {
      // One that floods is not worth a line for each.
      if (!('org' in what) || muting.allows(`${what.org} early`, clock.now())) event(what);
    });
    const inbox = new Inbox(store, limits, event);
    const book = new Book(
      {
        options,
        store,
        clock,
        limits,
        log: await ApprovalLog.open(store, event),
        index: new OpenIndex(limits),
        early,
        watchers: new Watchers(),
        muting,
        nextNumber: 1,
        event,
      },
      inbox,
    );
    await book.#load();
    return book;
  }

  // ---- what nodes ask for -------------------------------------------------------------------------------------------------------

  propose(draft: ProposalDraft): Promise<Proposal> {
    return this.#serial(async () => {
      const id = await this.#step(step => propose(this.#desk, step, draft));
      return this.#view(id);
    });
  }

  vote(envelope: Envelope): Promise<{ readonly proposal: Proposal; readonly duplicate: boolean }> {
    return this.#serial(async () => {
      const { id, duplicate } = await this.#step(step => castOwn(this.#desk, step, envelope));
      return { proposal: await this.#view(id), duplicate };
    });
  }

  withdraw(id: Buffer, reason: string): Promise<Proposal> {
    return this.#serial(async () => {
      await this.#step(step => recallOwn(this.#desk, step, id, reason));
      return this.#view(id);
    });
  }

  get(id: Buffer): Promise<Proposal> {
    return this.#view(id);
  }

  list(filter: ProposalFilter, after: Buffer | undefined, limit: number): Promise<Page> {
    return list(this.#desk, filter, after, limit);
  }

  async *watch(
    filter: Omit<ProposalFilter, 'state'> & { readonly id: Buffer | undefined },
    signal: AbortSignal,
  ): AsyncGenerator<Proposal> {
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    const wants = (proposal: Proposal): boolean =>
      (!filter.id || filter.id.equals(proposal.id)) && matches({ ...filter, state: 0 }, proposal);
    if (filter.id) await needProposal(this.#desk, filter.id);
    const watcher = new Watcher(wants);
    const stop = this.#desk.watchers.add(watcher);
    try {
      if (filter.id) watcher.note(await this.#view(filter.id));
      else for (const { summary } of this.#desk.index.newestFirst()) watcher.note(summary);
      for (;;) {
        const id = await watcher.next(either);
        if (id === undefined) break;
        const proposal = await this.#view(Buffer.from(id, 'hex')).catch(error => {
          // One that is damaged does not end the watching of the others.
          if (!isDamage(error) || filter.id) throw error;
        });
        if (proposal) yield proposal;
      }
    } finally {
      stop();
    }
    if (!signal.aborted) throw draining();
  }

  approval(of: { readonly id: Buffer } | { readonly artifactSha256: Buffer }): Promise<CountedApproval> {
    return countedApproval(this.#desk, of);
  }

  /** Damaged rows are rows that were there: their keys say what is approved. */
  async isApproved(sha256: Buffer): Promise<boolean> {
    if (sha256.length !== 32) return false;
    for (const table of [TABLE.artifact, TABLE.file]) {
      const [row] = await this.#store.scan(table, { ...prefixed(sha256), limit: 1 });
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

  receive(from: OrgName, exchanges: readonly Uint8Array[], change: Change): () => void {
    if (this.#stopped.signal.aborted) throw draining();
    try {
      this.#inbox.put(change, from, exchanges, this.#clock.now());
    } catch (error) {
      // What was counted for a change that then failed must not stand in the way for ever.
      this.#kick();
      throw error;
    }
    return () => {
      this.#inbox.note(from);
      this.#kick();
    };
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    this.#ends.stop();
    this.#retries.stop();
    for (const stop of this.#stops) stop();
    await this.#last.catch(() => undefined);
  }

  /** Resolves when nothing is under way that is not waited for by its caller: for tests. */
  async idle(): Promise<void> {
    for (;;) {
      const last = this.#last;
      await last.catch(() => undefined);
      if (last === this.#last && !this.#looking) return;
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  // ---- inside -------------------------------------------------------------------------------------------------------------------

  async #load(): Promise<void> {
    const { index, early, event, options } = this.#desk;
    await early.load();
    await this.#inbox.load();
    const [newest] = await this.#store.scan(TABLE.summary, { limit: 1, reverse: true });
    this.#desk.nextNumber = newest ? numberAt(newest.key, 0) + 1 : 1;
    const found: { readonly id: Buffer; readonly number: number }[] = [];
    for await (const row of rowsOf(this.#store, TABLE.open)) {
      const number = readRow(row, value => numberAt(value, 0));
      if (number === undefined) event({ kind: 'row-damaged', table: TABLE.open, key: row.key.toString('hex') });
      found.push({ id: row.key, number: number ?? 0 });
    }
    for (const { id, number } of found.sort((a, b) => a.number - b.number)) await this.#loadOpen(id, number);
    this.#desk.nextNumber = Math.max(this.#desk.nextNumber, 1 + (found.at(-1)?.number ?? 0));
    for (const id of early.proposals()) this.#retryEarly.set(id.toString('hex'), id);
    this.#stops.push(options.directory.onChange(() => this.#directoryChanged()));
    this.#stops.push(this.#store.onHealth(({ state }) => state === 'ok' && this.#kick()));
    this.#recount.all();
    this.#recounting = true;
    this.#ends.wake(index.nextEndMs());
    this.#kick();
  }

  /** As lists showed it last; it is counted anew right after. What cannot be read is made anew from its proposal and its votes. */
  async #loadOpen(id: Buffer, number: number): Promise<void> {
    const { index, event } = this.#desk;
    const summary = number > 0 ? await readSummary(this.#desk, number) : undefined;
    if (summary && id.equals(summary.id)) {
      index.set(id, number, summary);
      return;
    }
    try {
      const stored = await findProposal(this.#desk, id);
      if (stored && !stored.end) index.set(id, stored.number, (await this.#count(stored)).summary);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // In no list of what is open, and nothing happens to it.
      event({ kind: 'row-damaged', table: TABLE.proposal, key: id.toString('hex') });
    }
  }

  /** A proposal as it stands now. */
  async #count(stored: StoredProposal) {
    const { options, clock } = this.#desk;
    const { votes } = await readVotes(this.#desk, stored);
    const marks = await readMarks(this.#desk, stored);
    const judgement = judge(stored.facts, votes, options.directory, clock.now(), stored.end);
    return { votes, marks, judgement, summary: summaryOf(stored, judgement, marks, options.org) };
  }

  async #view(id: Buffer): Promise<Proposal> {
    const desk = this.#desk;
    const stored = await needProposal(desk, id);
    const { votes, judgement, summary } = await this.#count(stored);
    const receipts = await readReceipts(desk, stored.id);
    return fullView(summary, stored, votes, judgement, receipts, await previousApproved(desk, stored.facts));
  }

  /** One after the other: each sees what those before it made. */
  #serial<T>(work: () => Promise<T>): Promise<T> {
    const outcome = this.#last.then(() => {
      if (this.#stopped.signal.aborted) throw draining();
      return work();
    });
    this.#last = outcome.catch(() => undefined);
    return outcome;
  }

  async #step<T>(fill: (step: Step) => Promise<T>): Promise<T> {
    const step = new Step(this.#desk);
    const value = await fill(step);
    await step.commit();
    return value;
  }

  /** Looks at what came, and at what there is to do beside that. */
  #kick(): void {
    this.#lookAgain = true;
    if (this.#looking || this.#stopped.signal.aborted) return;
    this.#looking = true;
    void this.#look().then(ok => {
      this.#looking = false;
      if (!this.#lookAgain || this.#stopped.signal.aborted) return;
      if (ok) this.#kick();
      else this.#retries.wake(this.#clock.now() + RETRY_MS);
    });
  }

  /** False: the disk did not let it, and it must be tried again. */
  async #look(): Promise<boolean> {
    try {
      while (this.#lookAgain && !this.#stopped.signal.aborted) {
        this.#lookAgain = false;
        await this.#recountAll();
        await this.#lookAtEarly();
        while (await this.#lookAtInbox()) await this.#lookAtEarly();
      }
      return true;
    } catch (error) {
      this.#lookAgain = true;
      if (!this.#stopped.signal.aborted) this.#desk.event({ kind: 'failed', error });
      return false;
    }
  }

  /** False: nothing waits. */
  async #lookAtInbox(): Promise<boolean> {
    if (this.#inbox.empty || this.#stopped.signal.aborted) return false;
    const waiting = await this.#inbox.take();
    for (const one of waiting) {
      const made = await this.#serial(() => lookAt(this.#desk, one, () => this.#inbox.done(one)));
      if (made) this.#retryEarly.set(made.toString('hex'), made);
    }
    if (waiting.length > 0) return true;
    // What was put into changes before is through now, or it never will be.
    const { puts } = this.#inbox;
    await this.#store.commit(new Change());
    if ((await this.#inbox.take()).length > 0) return true;
    if (this.#inbox.puts === puts) this.#inbox.reset();
    return false;
  }

  async #lookAtEarly(): Promise<void> {
    for (const [name, id] of [...this.#retryEarly]) {
      this.#retryEarly.delete(name);
      try {
        for (const early of await this.#desk.early.of(id)) await this.#serial(() => retryEarly(this.#desk, early));
      } catch (error) {
        this.#retryEarly.set(name, id);
        throw error;
      }
    }
  }

  async #recountAll(): Promise<void> {
    if (!this.#recounting) return;
    this.#recounting = false;
    try {
      for (const id of this.#recount.due()) await this.#serial(() => this.#settleOpen(id));
      this.#recount.done();
    } catch (error) {
      this.#recounting = true;
      throw error;
    }
  }

  /** Counts one that may be open, and writes it when that changes anything. */
  async #settleOpen(id: Buffer): Promise<void> {
    const open = this.#desk.index.get(id);
    if (!open) return;
    try {
      const stored = await needProposal(this.#desk, id);
      const { votes, marks, judgement, summary } = await this.#count(stored);
      const same = judgement.state === 'open' && decisionsOf(summary) === decisionsOf(open.summary);
      if (!same) await this.#step(step => settle(this.#desk, step, { stored, votes, marks }));
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#desk.event({ kind: 'row-damaged', table: TABLE.proposal, key: id.toString('hex') });
      this.#desk.index.remove(id.toString('hex'));
    }
  }

  #directoryChanged(): void {
    this.#recounting = true;
    for (const id of this.#desk.early.proposals()) this.#retryEarly.set(id.toString('hex'), id);
    this.#kick();
  }

  #expire(): void {
    const due = this.#desk.index.over(this.#clock.now());
    const done = due.map(({ id }) => this.#serial(() => this.#settleOpen(id)));
    Promise.all(done)
      .then(
        () => this.#ends.wake(this.#desk.index.nextEndMs()),
        error => {
          if (this.#stopped.signal.aborted) return;
          this.#desk.event({ kind: 'failed', error });
          this.#ends.wake(this.#clock.now() + RETRY_MS);
        },
      )
      .catch(() => undefined);
  }
}

const decisionsOf = ({ standings }: Proposal): string => standings.map(({ decision }) => decision).join();

const draining = (): FedgateError => new FedgateError('DRAINING', 'the gateway is about to stop');
