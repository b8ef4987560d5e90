import { setTimeout as sleep } from 'node:timers/promises';
import { connect, FedgateError } from '../../src/client/index.js';
import type { Node } from '../federation.js';
import { serveWorker } from '../worker.js';
import { type Ask, type RateParams, rateOf, timesOf } from './load.js';

/** Programs that use the SDK: one that asks, one that answers with what it was asked. */

const CHANNEL = 'bench/requests';
const ADDRESS = `pubsub://GLOBEX/${CHANNEL}`;
const CAPACITY = 128;

let ask: Ask | undefined;

const methods = {
  /** Answers when the gateway has opened the stream. */
  async respond(node: Node): Promise<void> {
    const client = await connect(node);
    await client.respond(CHANNEL, ({ payload }) => payload, { capacity: CAPACITY }).opened;
  },

  /** Answers when a first request was answered: links are made on demand. */
  async connect({ node, payloadBytes }: { node: Node; payloadBytes: number }): Promise<void> {
    const client = await connect(node);
    const payload = Buffer.alloc(payloadBytes, 'x');
    const once: Ask = async () => {
      const reply = await client.request(ADDRESS, payload);
      if (reply.payload.length !== payloadBytes) throw new Error('another reply');
    };
    await untilAnswered(once);
    ask = once;
  },

  rate: (params: RateParams) => rateOf(asking(), params),
  times: ({ calls }: { calls: number }) => timesOf(asking(), calls),
};

export type FedgateMethods = typeof methods;
serveWorker(methods);

function asking(): Ask {
  if (!ask) throw new Error('not connected');
  return ask;
}

async function untilAnswered(once: Ask): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await once();
    } catch (error) {
      if (!(error instanceof FedgateError && error.retryable)) throw error;
    }
    await sleep(100);
  }
  throw new Error(`nobody answers at ${ADDRESS}`);
}
