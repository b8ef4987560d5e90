import type { MeasureParams } from '../meter.js';
import { natsUnavailable, startNatsPair } from '../nats.js';
import { TRANSPORT } from '../nats-client.js';
import { measureRate, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { NatsMethods } from './nats-worker.js';

const start = (name: string): Worker<NatsMethods & CommonMethods> =>
  new Worker(name, new URL('./nats-worker.js', import.meta.url));

/** Publisher → nats-server → leaf node connection → nats-server → subscriber, TLS on every hop. The publisher is on the leaf's side. */
export const natsSystem: System<'nats'> = {
  name: 'nats',
  unavailable: () => natsUnavailable([TRANSPORT]),

  async measure(payloadBytes, seconds) {
    await using servers = await startNatsPair({ jetStream: false });
    const { leaf, hub, leafClient, hubClient } = servers;
    await using subscriber = start('nats subscriber');
    await using publisher = start('nats publisher');
    await subscriber.call('subscribe', hubClient);
    await publisher.call('publish', { ...leafClient, payloadBytes });
    const counter = { measure: (params: MeasureParams) => subscriber.call('measure', params) };
    return await measureRate('nats', payloadBytes, seconds, counter, [publisher, leaf, hub, subscriber]);
  },
};
