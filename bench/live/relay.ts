import type { Target } from '../bare-grpc.js';
import { makeOrg } from '../identities.js';
import type { MeasureParams } from '../meter.js';
import { measureRate, type System } from '../system.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { RelayMethods } from './relay-worker.js';

type RelayWorker = Worker<RelayMethods & CommonMethods>;

const start = (name: string): RelayWorker => new Worker(name, new URL('./relay-worker.js', import.meta.url));

/**
 * Publisher → relay A → relay B → subscriber: four processes. `relay` moves finished frames and is the limit of the transport;
 * `typed-relay` makes and reads every record with the generated code at the two ends, as programs do.
 */
export async function createRelaySystem(name: 'relay' | 'typed-relay'): Promise<System<typeof name>> {
  const [acme, globex] = [await makeOrg('ACME'), await makeOrg('GLOBEX')];
  const authorities = [acme.authority.certificate, globex.authority.certificate];
  return {
    name,
    unavailable: async () => undefined,
    async measure(payloadBytes, seconds) {
      const load = { payloadBytes, typed: name === 'typed-relay' };
      await using relayB = start('relay B');
      await using relayA = start('relay A');
      await using subscriber = start('subscriber');
      await using publisher = start('publisher');
      const atB = await relayB.call('relay', { identity: globex.gateway, authorities });
      const next: Target = { address: atB, serverName: globex.serverName, identity: acme.gateway, authorities };
      const atA = await relayA.call('relay', { identity: acme.gateway, authorities, next });
      await subscriber.call('subscribe', { ...next, identity: globex.node, ...load });
      await publisher.call('publish', {
        address: atA,
        serverName: acme.serverName,
        identity: acme.node,
        authorities,
        ...load,
      });
      const counter = { measure: (params: MeasureParams) => subscriber.call('measure', params) };
      return await measureRate(name, payloadBytes, seconds, counter, [publisher, relayA, relayB, subscriber]);
    },
  };
}
