import { createFederation } from '../federation.js';
import { startGateway } from '../gateway.js';
import type { MeasureParams } from '../meter.js';
import { measureRate, rssMb, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { FedgateMethods } from './fedgate-worker.js';
import type { Memory } from './report.js';

type Program = Worker<FedgateMethods & CommonMethods>;

const startProgram = (name: string): Program => new Worker(name, new URL('./fedgate-worker.js', import.meta.url));

const ADDRESS = 'pubsub://GLOBEX/bench/live';

/** Publisher → gateway of ACME → gateway of GLOBEX → subscriber: four processes. */
export const fedgateSystem: System<'fedgate'> = {
  name: 'fedgate',
  unavailable: async () => undefined,

  async measure(payloadBytes, seconds) {
    await using federation = await createFederation();
    const { acme, globex } = federation;
    await using gatewayB = await startGateway('gateway B', globex.config);
    await using gatewayA = await startGateway('gateway A', acme.config);
    await using subscriber = startProgram('subscriber');
    await using publisher = startProgram('publisher');
    await subscriber.call('subscribe', globex.node);
    await publisher.call('publish', { node: acme.node, address: ADDRESS, payloadBytes });
    const counter = { measure: (params: MeasureParams) => subscriber.call('measure', params) };
    const measurement = await measureRate('fedgate', payloadBytes, seconds, counter, [
      publisher,
      gatewayA,
      gatewayB,
      subscriber,
    ]);
    const lost = await subscriber.call('lost', undefined);
    if (lost > 0) throw new Error(`${lost} records were dropped although the publisher was patient`);
    return measurement;
  },
};

/** Median of single messages from one organisation to the other, both programs in one process for one clock, milliseconds. */
export async function measureEndToEnd(payloadBytes: number, messages: number): Promise<number> {
  await using federation = await createFederation();
  const { acme, globex } = federation;
  await using _gatewayB = await startGateway('gateway B', globex.config);
  await using _gatewayA = await startGateway('gateway A', acme.config);
  await using programs = startProgram('publisher and subscriber');
  return await programs.call('endToEnd', {
    from: acme.node,
    to: globex.node,
    address: ADDRESS,
    payloadBytes,
    messages,
  });
}

const FLOOD_BYTES = 200 * 1024 * 1024;
const SAMPLE_MS = 50;

/** Publishes to a subscriber that has stopped reading, and watches the memory of its gateway. */
export async function measureStalledSubscriber(): Promise<Memory> {
  await using federation = await createFederation();
  const { acme, globex } = federation;
  await using gatewayB = await startGateway('gateway B', globex.config);
  await using gatewayA = await startGateway('gateway A', acme.config);
  await using subscriber = startProgram('subscriber');
  await using publisher = startProgram('publisher');
  await subscriber.call('subscribe', globex.node);
  const flood = { node: acme.node, address: ADDRESS, payloadBytes: 1024 };
  // The same load, read, so that what is compared is a warm process with a warm process.
  await publisher.call('flood', { ...flood, records: FLOOD_BYTES / 4 / 1024 });
  await subscriber.call('stall', undefined);
  const beforeMb = await rssMb(gatewayB);
  let peakMb = beforeMb;
  const sampler = setInterval(() => {
    void rssMb(gatewayB).then(mb => {
      peakMb = Math.max(peakMb, mb);
    });
  }, SAMPLE_MS);
  try {
    const dropped = await publisher.call('flood', { ...flood, records: FLOOD_BYTES / 1024 });
    return { publishedMb: FLOOD_BYTES / 1024 ** 2, dropped, beforeMb, peakMb, gatewayAMb: await rssMb(gatewayA) };
  } finally {
    clearInterval(sampler);
  }
}
