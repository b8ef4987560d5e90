import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type FedgateClient, FedgateError, type Subscription } from '../../src/client/index.js';
import type { Node } from '../federation.js';
import { type MeasureParams, Meter, median } from '../meter.js';
import { serveWorker } from '../worker.js';

/** Programs that use the SDK: a publisher, a subscriber, or both in one process for one clock. */

const CHANNEL = 'bench/live';
/** How long a publisher lets itself be slowed, so that nothing is dropped while rates are measured. */
const PATIENCE_MS = 5_000;

const meter = new Meter();
let stalled = false;

const methods = {
  /** Answers when the gateway has opened the subscription. */
  async subscribe(node: Node): Promise<void> {
    const client = await connect(node);
    const subscription = client.subscribe(CHANNEL, { onLoss: loss => losses.push(loss) });
    void read(subscription);
    await subscription.opened;
  },

  /** Stops the reading of messages, as a program does that hangs. */
  stall(): void {
    stalled = true;
  },

  /** How many records the gateway said it dropped for this subscriber. */
  lost: (): number => losses.reduce((sum, { records }) => sum + (records ?? 0), 0),

  /** Begins to publish without end. */
  async publish({ node, address, payloadBytes }: { node: Node; address: string; payloadBytes: number }): Promise<void> {
    const client = await connect(node);
    await untilHeard(client, address);
    void client.publishAll(address, endless(payloadBytes), { delivery: 'live', patienceMs: PATIENCE_MS });
  },

  /** Publishes so many records without patience: what a subscriber does not take is dropped. Tells how many were. */
  async flood({ node, address, payloadBytes, records }: Flood): Promise<number> {
    await using client = await connect(node);
    const { dropped } = await client.publishAll(address, some(payloadBytes, records), { delivery: 'live' });
    return dropped;
  },

  measure: (params: MeasureParams) => meter.measure(params),

  /** Median time from `publish` in one organisation to the message in the other, one at a time, milliseconds. */
  async endToEnd({ from, to, address, payloadBytes, messages }: EndToEnd): Promise<number> {
    await using publisher = await connect(from);
    await using subscriber = await connect(to);
    const subscription = subscriber.subscribe(CHANNEL);
    await subscription.opened;
    const received = subscription[Symbol.asyncIterator]();
    const payload = Buffer.alloc(payloadBytes, 'x');
    await untilHeard(publisher, address);
    await received.next();
    const times: number[] = [];
    for (let i = 0; i < messages + WARMUP_MESSAGES; i++) {
      const begun = performance.now();
      const answer = publisher.publish(address, payload, { delivery: 'live' });
      await received.next();
      if (i >= WARMUP_MESSAGES) times.push(performance.now() - begun);
      await answer;
    }
    subscription.close();
    return median(times);
  },
};

export type FedgateMethods = typeof methods;
serveWorker(methods);

interface Flood {
  readonly node: Node;
  readonly address: string;
  readonly payloadBytes: number;
  readonly records: number;
}

interface EndToEnd {
  readonly from: Node;
  readonly to: Node;
  readonly address: string;
  readonly payloadBytes: number;
  readonly messages: number;
}

const WARMUP_MESSAGES = 500;
const losses: { readonly records: number | undefined }[] = [];

/** Reads every payload, as a program would, until it stalls. */
async function read(subscription: Subscription): Promise<void> {
  for await (const batch of subscription.batches()) {
    let messages = 0;
    for (const message of batch) if (message.payload.length > 0) messages++;
    meter.add(messages);
    while (stalled) await sleep(1_000);
  }
}

/** Publishes single records until one reaches a subscriber: links are made on demand. */
async function untilHeard(client: FedgateClient, address: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      const { subscribers } = await client.publish(address, 'hello', { delivery: 'live' });
      if (subscribers > 0) return;
    } catch (error) {
      if (!(error instanceof FedgateError && error.retryable)) throw error;
    }
    await sleep(100);
  }
  throw new Error(`nobody hears ${address}`);
}

function* endless(payloadBytes: number): Generator<{ payload: Buffer }> {
  const payload = Buffer.alloc(payloadBytes, 'x');
  for (;;) yield { payload };
}

function* some(payloadBytes: number, records: number): Generator<{ payload: Buffer }> {
  const payload = Buffer.alloc(payloadBytes, 'x');
  for (let i = 0; i < records; i++) yield { payload };
}
