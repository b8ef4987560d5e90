import { setTimeout as sleep } from 'node:timers/promises';
import type { DurableNotice, DurableSubscription, FedgateClient } from '../../../src/client/index.js';
import type { ConsumerFlow } from './flows.js';
import { record } from './node-output.js';
import { readPayload } from './payload.js';

/** Consumes a durable subscription for ever: writes each message down, then acknowledges it. */
export class Consuming {
  readonly #flow: ConsumerFlow;
  readonly #messages: DurableSubscription;
  #acks = 0;

  constructor(client: FedgateClient, flow: ConsumerFlow) {
    this.#flow = flow;
    this.#messages = client.subscribe(flow.pattern, {
      durable: flow.subscription,
      ackWaitMs: flow.ackWaitMs,
      from: 'earliest',
      group: flow.group,
      onNotice: notice => this.#missing(notice),
    });
  }

  async opened(): Promise<void> {
    await this.#messages.opened;
  }

  async run(): Promise<void> {
    for await (const message of this.#messages) {
      const { id, intact } = readPayload(message.text);
      const about = { consumer: this.#flow.name, subscription: this.#flow.subscription, offset: message.offset, id };
      const { senderOrg, senderNode, channel, deliveryCount } = message;
      const key = message.key.toString();
      record({ kind: 'delivered', ...about, intact, senderOrg, senderNode, channel, key, deliveryCount });
      if (this.#flow.workMs) await sleep(this.#flow.workMs);
      record({ kind: 'ackSent', ...about });
      message.ack().then(
        () => record({ kind: 'ackSettled', ...about }),
        () => record({ kind: 'ackUnknown', ...about }),
      );
      if (++this.#acks === this.#flow.dieAfterAcks) this.#die();
    }
  }

  #missing(notice: DurableNotice): void {
    const { name: consumer, subscription } = this.#flow;
    const { kind: what, channel, first, last } = notice;
    const senderOrg = notice.kind === 'deadLettered' ? '' : notice.senderOrg;
    const records = notice.kind === 'deadLettered' ? last - first + 1 : (notice.records ?? 0);
    record({ kind: 'missing', consumer, subscription, what, channel, senderOrg, records });
  }

  /** After the acknowledgement has left and before its settling can be heard of. */
  #die(): void {
    setImmediate(() => setImmediate(() => process.kill(process.pid, 'SIGKILL')));
  }
}
