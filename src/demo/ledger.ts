import { setTimeout as sleep } from 'node:timers/promises';
import { FedgateError } from '../errors.js';
import type { DemoOrg } from './world.js';

const ADDRESS = 'pubsub://GLOBEX/ledger/orders';
/** How long between tries of an order whose fate is not known. Its id makes it one order however often it is tried. */
const RETRY_MS = 200;

/** Each ledger books its own orders only, and no id is used twice. */
let ledgers = 0;

export interface LedgerReport {
  readonly sent: number;
  readonly booked: number;
  /** Sent and answered for, and not booked. */
  readonly lost: number;
  /** Delivered again after their acknowledgement was settled. */
  readonly repeated: number;
}

/**
 * Orders that ACME sends and GLOBEX books, each of which counts: a durable subscription, acknowledged one by one, and a book in which
 * every order must stand once. Whatever is killed meanwhile.
 */
export class Ledger {
  readonly #from: DemoOrg;
  readonly #to: DemoOrg;
  readonly #ended = new AbortController();
  readonly #sent = new Set<string>();
  readonly #booked = new Set<string>();
  readonly #settled = new Set<string>();
  #repeated = 0;
  readonly #prefix = `${++ledgers}-`;
  #next = 1;
  #waiting: (() => void)[] = [];

  constructor(from: DemoOrg, to: DemoOrg) {
    this.#from = from;
    this.#to = to;
    void this.#book();
  }

  /** Sends one order; resolves when GLOBEX has it on stable storage. Tries until it has. */
  async send(): Promise<void> {
    const id = `${this.#prefix}${this.#next++}`;
    while (!this.#ended.signal.aborted) {
      try {
        await this.#from.client.publish(ADDRESS, { id, payload: id }, { ack: 'received', dedupe: true });
        this.#sent.add(id);
        return;
      } catch (error) {
        if (!(error instanceof FedgateError) || error.reason === 'CANCELLED') return;
        await sleep(RETRY_MS);
      }
    }
  }

  /** Resolves when every order that was answered for is booked, at the latest after `timeoutMs`. */
  async balanced(timeoutMs: number): Promise<LedgerReport> {
    const giveUp = Date.now() + timeoutMs;
    while (this.report().lost > 0 && Date.now() < giveUp) {
      await Promise.race([new Promise<void>(resolve => this.#waiting.push(resolve)), sleep(RETRY_MS)]);
    }
    return this.report();
  }

  report(): LedgerReport {
    const lost = [...this.#sent].filter(id => !this.#booked.has(id)).length;
    return { sent: this.#sent.size, booked: this.#booked.size, lost, repeated: this.#repeated };
  }

  close(): void {
    this.#ended.abort();
  }

  #enter(id: string): void {
    if (this.#settled.has(id)) this.#repeated++;
    this.#booked.add(id);
  }

  async #book(): Promise<void> {
    const { signal } = this.#ended;
    const subscription = this.#to.client.subscribe('ledger/*', { durable: 'ledger', from: 'earliest', signal });
    try {
      for await (const message of subscription) {
        const id = message.text;
        if (id.startsWith(this.#prefix)) this.#enter(id);
        message.ack().then(
          () => this.#settled.add(id),
          // Not settled: it comes again, and is the same order.
          () => undefined,
        );
        for (const resume of this.#waiting.splice(0)) resume();
      }
    } catch {
      // The client was closed: the demo is over.
    }
  }
}
