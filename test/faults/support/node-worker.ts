import { createInterface } from 'node:readline';
import { connect } from '../../../src/client/index.js';
import { Consuming } from './consuming.js';
import type { NodeCommand, NodeOrders } from './flows.js';
import { announce } from './node-output.js';
import { Publishing } from './publishing.js';

/** The programs of one organisation in one process: does what its argument says until its standard input ends. */

const orders = JSON.parse(process.argv[2] ?? '{}') as NodeOrders;
const stop = new AbortController();
/** A gateway that is killed again and again is away longer than a user would wait for it. */
const PATIENCE = { connectTimeoutMs: 60_000, publishTimeoutMs: 60_000 };

async function run(): Promise<void> {
  const consumers = await Promise.all(
    orders.consumers.map(async flow => new Consuming(await connect({ context: flow.context, ...PATIENCE }), flow)),
  );
  const publishers = await Promise.all(
    orders.publishers.map(
      async flow =>
        new Publishing(await connect({ context: flow.context, ...PATIENCE }), orders.org, flow, stop.signal),
    ),
  );
  for (const consumer of consumers) consumer.run().catch(fail);
  await Promise.all(consumers.map(consumer => consumer.opened()));
  const go = new Promise<void>(resolve => {
    createInterface({ input: process.stdin })
      .on('line', line => {
        const command = line as NodeCommand;
        if (command === 'go') resolve();
        else stop.abort();
      })
      .on('close', () => process.exit(0));
  });
  announce({ news: 'ready' });
  await go;
  await Promise.all(publishers.map(publisher => publisher.run()));
  announce({ news: 'finished' });
}

function fail(error: unknown): void {
  announce({ news: 'failed', why: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
  process.exit(1);
}

run().catch(fail);
