import type { MeasureParams } from '../meter.js';
import { natsUnavailable, startNatsPair } from '../nats.js';
import { measureRate, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import { JETSTREAM_PACKAGES } from './jetstream-client.js';
import type { JetStreamMethods } from './jetstream-worker.js';

const start = (name: string): Worker<JetStreamMethods & CommonMethods> =>
  new Worker(name, new URL('./jetstream-worker.js', import.meta.url));

/**
 * Publisher → stream in one JetStream domain → stream sourced from it in another → durable pull consumer. Publishes and messages are
 * acknowledged one by one, many at a time; no server syncs before it acknowledges. `raw`: the publisher goes around the client's own call.
 */
export const createJetStreamSystem = (name: 'jetstream' | 'raw-jetstream'): System<typeof name> => ({
  name,
  unavailable: () => natsUnavailable(JETSTREAM_PACKAGES),

  async measure(payloadBytes, seconds) {
    await using servers = await startNatsPair({ jetStream: true });
    const { leaf, hub, leafClient, hubClient } = servers;
    await using consumer = start('jetstream consumer');
    await using publisher = start('jetstream publisher');
    await publisher.call('createOrigin', leafClient);
    await consumer.call('consume', { ...hubClient, domain: 'leaf' });
    await publisher.call('publish', { ...leafClient, payloadBytes, raw: name === 'raw-jetstream' });
    const counter = { measure: (params: MeasureParams) => consumer.call('measure', params) };
    return await measureRate(name, payloadBytes, seconds, counter, [publisher, leaf, hub, consumer]);
  },
});
