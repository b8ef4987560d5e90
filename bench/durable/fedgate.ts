import { createFederation } from '../federation.js';
import { startGateway } from '../gateway.js';
import type { MeasureParams } from '../meter.js';
import { measureRate, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { DurableMethods } from './fedgate-worker.js';

export const CHANNEL = 'bench/durable';
export const ADDRESS = `pubsub://GLOBEX/${CHANNEL}`;

export const startProgram = (name: string): Worker<DurableMethods & CommonMethods> =>
  new Worker(name, new URL('./fedgate-worker.js', import.meta.url));

/** Publisher → gateway of ACME → gateway of GLOBEX → consumer of a durable subscription: four processes. */
export const fedgateSystem: System<'fedgate'> = {
  name: 'fedgate',
  unavailable: async () => undefined,

  async measure(payloadBytes, seconds) {
    await using federation = await createFederation();
    const { acme, globex } = federation;
    await using gatewayB = await startGateway('gateway B', globex.config);
    await using gatewayA = await startGateway('gateway A', acme.config);
    await using consumer = startProgram('consumer');
    await using publisher = startProgram('publisher');
    await consumer.call('consume', { node: globex.node, channel: CHANNEL });
    await publisher.call('publish', { node: acme.node, address: ADDRESS, payloadBytes });
    const counter = { measure: (params: MeasureParams) => consumer.call('measure', params) };
    return await measureRate('fedgate', payloadBytes, seconds, counter, [publisher, gatewayA, gatewayB, consumer]);
  },
};

/** Times of single publishes to the moment when the other organisation has stored them, milliseconds. */
export async function measureSingles(payloadBytes: number, publishes: number): Promise<number[]> {
  await using federation = await createFederation();
  const { acme, globex } = federation;
  await using _gatewayB = await startGateway('gateway B', globex.config);
  await using _gatewayA = await startGateway('gateway A', acme.config);
  await using publisher = startProgram('publisher');
  return await publisher.call('singles', { node: acme.node, address: ADDRESS, payloadBytes, publishes });
}
