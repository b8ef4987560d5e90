import type { Proposal } from '../../../gen/ts/fedgate/approvals/v1/approval_service.js';
import { Change } from '../../store/store.js';
import { type Desk, needProposal } from './desk.js';
import type { Inbox } from './inbox.js';
import { lookAt, retryEarly } from './incoming.js';
import type { OneByOne } from './one-by-one.js';
import { Recount } from './recount.js';
import { isDamage } from './scans.js';
import { settle } from './settle.js';
import { standing } from './standing.js';
import { Step } from './step.js';
import { TABLE } from './tables.js';
import { Timer } from './timer.js';

/** What the disk refused is tried again after so long. */
export const RETRY_MS = 1_000;

/**
 * What nobody waits for: looking at what other gateways said, counting anew when the registry changes, ending what is over. Whatever of it the disk
 * refuses stays to be done.
 */
export class Chores {
  readonly #desk: Desk;
  readonly #inbox: Inbox;
  readonly #turns: OneByOne;
  readonly #recount: Recount;
  readonly #ends: Timer;
  readonly #retries: Timer;
  /** Proposals whose early votes are to be looked at. */
  readonly #early = new Map<string, Buffer>();
  #recounting = true;
  #busy = false;
  #again = false;

  constructor(desk: Desk, inbox: Inbox, turns: OneByOne) {
    this.#desk = desk;
    this.#inbox = inbox;
    this.#turns = turns;
    this.#recount = new Recount(desk);
    this.#ends = new Timer(desk.clock, () => this.#expire());
    this.#retries = new Timer(desk.clock, () => this.kick());
  }

  /** Whether something is being done. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Goes on with what was left: also with what became over, or changed in the registry, while nothing ran. */
  start(): void {
    this.#noteEarly();
    this.#ends.wake(this.#desk.index.nextEndMs());
    this.kick();
  }

  stop(): void {
    this.#ends.stop();
    this.#retries.stop();
  }

  /** An open proposal is over at that time. */
  wakeBy(timeMs: number): void {
    this.#ends.wake(timeMs);
  }

  directoryChanged(): void {
    this.#recounting = true;
    this.#noteEarly();
    this.kick();
  }

  /** Looks for what there is to do. */
  kick(): void {
    this.#again = true;
    if (this.#busy || this.#turns.stopped.aborted) return;
    this.#busy = true;
    void this.#work().then(done => {
      this.#busy = false;
      if (!this.#again || this.#turns.stopped.aborted) return;
      if (done) this.kick();
      else this.#retries.wake(this.#desk.clock.now() + RETRY_MS);
    });
  }

  /** False: the disk did not let it, and it must be tried again. */
  async #work(): Promise<boolean> {
    try {
      while (this.#again && !this.#turns.stopped.aborted) {
        this.#again = false;
        await this.#countAnew();
        await this.#lookAtEarly();
        while (await this.#lookAtInbox()) await this.#lookAtEarly();
      }
      return true;
    } catch (error) {
      this.#again = true;
      if (!this.#turns.stopped.aborted) this.#desk.event({ kind: 'failed', error });
      return false;
    }
  }

  /** False: nothing waits. */
  async #lookAtInbox(): Promise<boolean> {
    if (this.#inbox.empty || this.#turns.stopped.aborted) return false;
    const waiting = await this.#inbox.take();
    for (const one of waiting) {
      const made = await this.#turns.run(() => lookAt(this.#desk, one, () => this.#inbox.done(one)));
      if (made) this.#early.set(made.toString('hex'), made);
    }
    if (waiting.length > 0) return true;
    // What was put into changes before is through now, or it never will be.
    const { puts } = this.#inbox;
    await this.#desk.store.commit(new Change());
    if ((await this.#inbox.take()).length > 0) return true;
    if (this.#inbox.puts === puts) this.#inbox.reset();
    return false;
  }

  #noteEarly(): void {
    for (const id of this.#desk.early.proposals()) this.#early.set(id.toString('hex'), id);
  }

  async #lookAtEarly(): Promise<void> {
    for (const [name, id] of [...this.#early]) {
      const votes = await this.#desk.early.of(id);
      for (const early of votes) await this.#turns.run(() => retryEarly(this.#desk, early));
      this.#early.delete(name);
    }
  }

  async #countAnew(): Promise<void> {
    if (!this.#recounting) return;
    this.#recounting = false;
    try {
      for (const id of this.#recount.due()) await this.#turns.run(() => this.#settleOpen(id));
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
      const { votes, marks, judgement, summary } = await standing(this.#desk, stored);
      if (judgement.state === 'open' && decisionsOf(summary) === decisionsOf(open.summary)) return;
      const step = new Step(this.#desk);
      await settle(this.#desk, step, { stored, votes, marks });
      await step.commit();
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#desk.event({ kind: 'row-damaged', table: TABLE.proposal, key: id.toString('hex') });
      this.#desk.index.remove(id.toString('hex'));
    }
  }

  #expire(): void {
    const { index, clock } = this.#desk;
    const done = index.over(clock.now()).map(({ id }) => this.#turns.run(() => this.#settleOpen(id)));
    void Promise.all(done).then(
      () => this.#ends.wake(index.nextEndMs()),
      error => {
        if (this.#turns.stopped.aborted) return;
        this.#desk.event({ kind: 'failed', error });
        this.#ends.wake(clock.now() + RETRY_MS);
      },
    );
  }
}

const decisionsOf = ({ standings }: Proposal): string => standings.map(({ decision }) => decision).join();
