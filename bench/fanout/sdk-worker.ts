import { connect, type Subscription } from '../../src/client/index.js';
import type { Node } from '../federation.js';
import { type MeasureParams, Meter } from '../meter.js';
import { serveWorker } from '../worker.js';
import { CHANNEL } from './frames.js';

/** A program with many subscriptions of the SDK, which reads every payload. */

const meter = new Meter();

const methods = {
  /** Answers when all are open. */
  async subscribe({ node, streams }: { node: Node; streams: number }): Promise<void> {
    const client = await connect(node);
    const all = Array.from({ length: streams }, () => client.subscribe(CHANNEL));
    await Promise.all(all.map(({ opened }) => opened));
    for (const subscription of all) void read(subscription);
  },

  measure: (params: MeasureParams) => meter.measure(params),
};

export type SdkMethods = typeof methods;
serveWorker(methods);

async function read(subscription: Subscription): Promise<void> {
  for await (const batch of subscription.batches()) {
    let messages = 0;
    for (const message of batch) if (message.payload.length > 0) messages++;
    meter.add(messages);
  }
}
