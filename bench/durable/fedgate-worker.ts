import { connect, type DurableSubscription } from '../../src/client/index.js';
import type { Node } from '../federation.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';

/** Programs that use the SDK: a publisher whose records are to be received, or the consumer of a durable subscription. */

const SUBSCRIPTION = 'bench';
/** Publishes before single ones are measured. */
const WARMUP_PUBLISHES = 50;

const meter = new Meter();

export interface PublishTarget {
  readonly node: Node;
  readonly address: string;
  readonly payloadBytes: number;
}

const methods = {
  /** Consumes the channel and acknowledges everything; counts what is settled. Answers when the subscription is open. */
  async consume({ node, channel }: { node: Node; channel: string }): Promise<void> {
    const client = await connect(node);
    const subscription = client.subscribe(channel, { durable: SUBSCRIPTION });
    void acknowledge(subscription);
    await subscription.opened;
  },

  /** Publishes without end. */
  async publish({ node, address, payloadBytes }: PublishTarget): Promise<void> {
    const client = await connect(node);
    void client.publishAll(address, payloads(payloadBytes, Number.POSITIVE_INFINITY), { ack: 'received' });
  },

  /** Publishes so many records; answers when each is stored at the level asked for, with the seconds that took. */
  async store({ node, address, payloadBytes, records, ack }: PublishTarget & Store): Promise<number> {
    await using client = await connect(node);
    const from = performance.now();
    await client.publishAll(address, payloads(payloadBytes, records), { ack });
    return (performance.now() - from) / 1000;
  },

  /** Times of single publishes until they are received, one at a time, milliseconds. */
  async singles({ node, address, payloadBytes, publishes }: PublishTarget & { publishes: number }): Promise<number[]> {
    await using client = await connect(node);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const times: number[] = [];
    for (let i = 0; i < publishes + WARMUP_PUBLISHES; i++) {
      const from = performance.now();
      await client.publish(address, payload, { ack: 'received' });
      if (i >= WARMUP_PUBLISHES) times.push(performance.now() - from);
    }
    return times;
  },

  measure: (params: MeasureParams) => meter.measure(params),

  settled: (): number => meter.messages,
};

export type DurableMethods = typeof methods;
serveWorker(methods);

interface Store {
  readonly records: number;
  readonly ack: 'stored' | 'received';
}

/** Reads every payload, as a program would. */
async function acknowledge(subscription: DurableSubscription): Promise<void> {
  for await (const batch of subscription.batches()) {
    let messages = 0;
    for (const message of batch) if (message.payload.length > 0) messages++;
    void batch.ack().then(() => meter.add(messages));
  }
}

function* payloads(payloadBytes: number, records: number): Generator<{ payload: Buffer }> {
  const payload = Buffer.alloc(payloadBytes, 'x');
  for (let i = 0; i < records; i++) yield { payload };
}
