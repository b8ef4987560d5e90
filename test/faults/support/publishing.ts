import { setTimeout as sleep } from 'node:timers/promises';
import type { FedgateClient } from '../../../src/client/index.js';
import { FedgateError } from '../../../src/errors.js';
import type { PublisherFlow } from './flows.js';
import { record } from './node-output.js';
import { messageId, writePayload } from './payload.js';

/** After these the call stored nothing; after anything else nobody can say. */
const REFUSALS: ReadonlySet<string> = new Set([
  'NOT_GRANTED',
  'ORG_UNKNOWN',
  'OUTBOX_FULL',
  'INBOX_FULL',
  'STORE_FULL',
  'STORE_READ_ONLY',
  'STORE_FAILED',
  'SEQUENCE_GAP',
]);
/** Between a failed attempt and the next, milliseconds. */
const RETRY_MS = 50;

/**
 * Publishes a numbered flow until every message has a good answer. What has none is published again, in order, from the first such on:
 * so the flow is in order however often it is interrupted.
 */
export class Publishing {
  readonly #client: FedgateClient;
  readonly #org: string;
  readonly #flow: PublisherFlow;
  readonly #stop: AbortSignal;
  /** The lowest number without a good answer. */
  #next: number;
  /** All below were published at least once. */
  #begun: number;

  constructor(client: FedgateClient, org: string, flow: PublisherFlow, stop: AbortSignal) {
    this.#client = client;
    this.#org = org;
    this.#flow = flow;
    this.#stop = stop;
    this.#next = flow.from;
    this.#begun = flow.from;
  }

  /** Resolves when it was told to stop and everything that it began is answered. */
  async run(): Promise<void> {
    while (this.#wants(this.#next)) {
      const good = await this.#round();
      if (!good) await sleep(RETRY_MS);
    }
  }

  #wants(n: number): boolean {
    const { last = Number.POSITIVE_INFINITY } = this.#flow;
    return n < this.#begun || (!this.#stop.aborted && n <= last);
  }

  /** Publishes on from the first unanswered as long as all goes well, then waits for the rest of the answers. */
  async #round(): Promise<boolean> {
    const { window, perSecond } = this.#flow;
    const answers: Promise<boolean>[] = [];
    let good = true;
    const settle = async (answer: Promise<boolean>): Promise<void> => {
      good = (await answer) && good;
      if (good) this.#next++;
    };
    for (let n = this.#next; good && this.#wants(n); n++) {
      answers.push(this.#attempt(n));
      const repeats = n < this.#begun;
      this.#begun = Math.max(this.#begun, n + 1);
      const oldest = answers.length >= window ? answers.shift() : undefined;
      if (oldest) await settle(oldest);
      // Repeating goes as fast as it can.
      if (!repeats) await sleep(1_000 / perSecond);
    }
    for (const answer of answers) await settle(answer);
    return good;
  }

  /** One publish; resolves with whether it was answered well. */
  async #attempt(n: number): Promise<boolean> {
    const { name, to, channel, level, idempotency, paddingBytes = 0, keys = 0 } = this.#flow;
    const identity = { org: this.#org, publisher: name, to, channel, n };
    const id = messageId(identity);
    const byId = idempotency === 'id';
    record({ kind: 'publish', id, ...identity, level, idempotent: byId });
    const payload = writePayload(identity, paddingBytes);
    const message = {
      payload,
      ...(byId ? { id: `${n}` } : {}),
      ...(keys > 0 ? { key: `key-${n % keys}` } : {}),
    };
    try {
      const { duplicate } = await this.#client.publish(`pubsub://${to}/${channel}`, message, {
        ack: level,
        dedupe: byId,
      });
      record({ kind: 'acked', id, level, duplicate: duplicate === true });
      return true;
    } catch (error) {
      const reason = error instanceof FedgateError ? error.reason : String(error);
      record({ kind: REFUSALS.has(reason) ? 'refused' : 'unknown', id, reason });
      return false;
    }
  }
}
