import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type FedgateClient } from '../../src/client/index.js';
import type { Node } from '../federation.js';
import { spread as spreadOf } from '../meter.js';
import { serveWorker } from '../worker.js';

/** Programs that use the SDK: one that publishes to a topic, one that reads it. */

const TOPIC = 'topic://bench/prices';
/** Records that are on their way to the own gateway at once. */
const WINDOW = 8_192;

let client: FedgateClient | undefined;
let received = 0;
let delaysMs: number[] = [];
let wake: (() => void) | undefined;

const methods = {
  async connect(node: Node): Promise<void> {
    client = await connect(node);
  },

  /** Answers when the subscription is open. Payloads begin with when they were made. */
  async read(): Promise<void> {
    const subscription = connected().topic(TOPIC).subscribe({ from: 'earliest' });
    await subscription.opened;
    void (async () => {
      for await (const { payload } of subscription) {
        received++;
        if (payload.length >= 8) delaysMs.push(now() - payload.readDoubleLE(0));
        if (delaysMs.length > 100_000) delaysMs = delaysMs.slice(50_000);
        wake?.();
      }
    })();
  },

  /** Answers when so many have come in all. */
  async received(count: number): Promise<void> {
    while (received < count)
      await new Promise<void>(resolve => {
        wake = resolve;
      });
  },

  /** The spread of what came since it was last asked, milliseconds from one program to the other. */
  delays: () => {
    const spread = spreadOf(delaysMs);
    delaysMs = [];
    return spread;
  },

  /** Publishes as fast as it is taken for a while. Answers with how many. */
  async flood({ ms, payloadBytes }: { ms: number; payloadBytes: number }): Promise<number> {
    const topic = connected().topic(TOPIC);
    const payload = Buffer.alloc(Math.max(8, payloadBytes), 'x');
    const untilMs = performance.now() + ms;
    const open: Promise<unknown>[] = [];
    let published = 0;
    while (performance.now() < untilMs) {
      for (let i = 0; i < 256; i++) {
        const copy = Buffer.from(payload);
        copy.writeDoubleLE(now());
        open.push(topic.publish(copy));
        published++;
      }
      while (open.length > WINDOW) await open.shift();
      await new Promise(resolve => setImmediate(resolve));
    }
    await Promise.all(open);
    return published;
  },

  /** Publishes one record after the other, each a post of its own. */
  async single({ count, payloadBytes }: { count: number; payloadBytes: number }): Promise<number> {
    const topic = connected().topic(TOPIC);
    for (let i = 0; i < count; i++) {
      const payload = Buffer.alloc(Math.max(8, payloadBytes), 'x');
      payload.writeDoubleLE(now());
      await topic.publish(payload);
      await sleep(2);
    }
    return count;
  },
};

export type ProgramMethods = typeof methods;
serveWorker(methods);

/** The same in every process of a machine, milliseconds. */
const now = (): number => performance.timeOrigin + performance.now();

function connected(): FedgateClient {
  if (!client) throw new Error('not connected');
  return client;
}
