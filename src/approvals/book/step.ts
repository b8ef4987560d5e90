import { Exchange, type LogEntry } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import type { OrgName } from '../../identity/names.js';
import { Change } from '../../store/store.js';
import type { Desk } from './desk.js';
import { appendEntry, type LogHead } from './log.js';

/**
 * One change in the making: rows, entries of the log and messages become true together, and the memory follows once they are. One at a time.
 */
export class Step {
  readonly change = new Change();
  /** The clock of this gateway when it began. */
  readonly nowMs: number;
  readonly #desk: Desk;
  readonly #messages: { readonly to: OrgName; readonly bytes: Buffer }[] = [];
  readonly #after: (() => void)[] = [];
  #head: LogHead;

  constructor(desk: Desk) {
    this.#desk = desk;
    this.nowMs = desk.clock.now();
    this.#head = desk.log.head;
  }

  /** Puts an entry into the log. `org`: whose word or deed it is. */
  log(proposalId: Uint8Array, org: string, what: NonNullable<LogEntry['what']>): LogHead {
    this.#head = appendEntry(this.change, this.#head, { timeMs: BigInt(this.nowMs), proposalId, org, what });
    return this.#head;
  }

  send(org: OrgName, what: NonNullable<Exchange['what']>): void {
    this.#messages.push({ to: org, bytes: Buffer.from(Exchange.encode({ what }).finish()) });
  }

  /** Done once the change is committed. */
  after(what: () => void): void {
    this.#after.push(what);
  }

  /** Rejects with STORE_*: nothing was done then. */
  async commit(): Promise<void> {
    // At last, and in the turn of the commit: an outbox looks for what it was given once that turn is over.
    for (const { to, bytes } of this.#messages) this.#desk.options.send(this.change, to, bytes);
    if (this.change.empty) return;
    await this.#desk.store.commit(this.change);
    this.#desk.log.advance(this.#head);
    for (const what of this.#after) what();
  }
}
