import type { Target } from '../bare-grpc.js';
import { makeOrg } from '../identities.js';
import type { MeasureParams } from '../meter.js';
import { measureRate, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { DurableRelayMethods } from './relay-worker.js';

const start = (name: string): Worker<DurableRelayMethods & CommonMethods> =>
  new Worker(name, new URL('./relay-worker.js', import.meta.url));

/** Publisher → relay A → relay B → consumer: four processes. The limit of the stack with what is durable at both relays. */
export const durableRelaySystem: System<'relay'> = {
  name: 'relay',
  unavailable: async () => undefined,

  async measure(payloadBytes, seconds) {
    const [acme, globex] = [await makeOrg('ACME'), await makeOrg('GLOBEX')];
    const authorities = [acme.authority.certificate, globex.authority.certificate];
    await using relayB = start('relay B');
    await using relayA = start('relay A');
    await using consumer = start('consumer');
    await using publisher = start('publisher');
    const { certificate } = acme.gateway;
    const atB = await relayB.call('second', { identity: globex.gateway, authorities, from: certificate });
    const next: Target = { address: atB, serverName: globex.serverName, identity: acme.gateway, authorities };
    const atA = await relayA.call('first', { identity: acme.gateway, authorities, next });
    await consumer.call('consume', { ...next, identity: globex.node, payloadBytes });
    const { serverName, node } = acme;
    await publisher.call('publish', { address: atA, serverName, identity: node, authorities, payloadBytes });
    const counter = { measure: (params: MeasureParams) => consumer.call('measure', params) };
    return await measureRate('relay', payloadBytes, seconds, counter, [publisher, relayA, relayB, consumer]);
  },
};
