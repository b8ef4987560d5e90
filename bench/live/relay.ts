import { makeOrg, type OrgIdentities } from '../identities.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { RelayMethods, Target } from './relay-worker.js';
import { measureRate, type System } from './system.js';

type RelayWorker = Worker<RelayMethods & CommonMethods>;

const start = (name: string): RelayWorker => new Worker(name, new URL('./relay-worker.js', import.meta.url));

const authoritiesOf = (orgs: readonly OrgIdentities[]): string[] => orgs.map(org => org.authority.certificate);

/**
 * Publisher → relay A → relay B → subscriber: four processes. `relay` moves finished frames and is the limit of the transport;
 * `typed-relay` makes and reads every record with the generated code at the two ends, as programs do.
 */
export async function createRelaySystem(name: 'relay' | 'typed-relay'): Promise<System> {
  const [acme, globex] = [await makeOrg('ACME'), await makeOrg('GLOBEX')];
  const authorities = authoritiesOf([acme, globex]);
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
      const measure: Parameters<typeof measureRate>[3] = { measure: params => subscriber.call('measure', params) };
      return await measureRate(name, payloadBytes, seconds, measure, [publisher, relayA, relayB, subscriber]);
    },
  };
}

/** Median of sequential unary calls between two processes over mutual TLS, milliseconds. */
export async function measureUnaryRoundTrip(payloadBytes: number, calls: number): Promise<number> {
  const acme = await makeOrg('ACME');
  const authorities = authoritiesOf([acme]);
  await using server = start('unary server');
  await using client = start('unary client');
  const address = await server.call('relay', { identity: acme.gateway, authorities });
  const target: Target = { address, serverName: acme.serverName, identity: acme.node, authorities };
  return await client.call('roundTrip', { ...target, calls, payloadBytes });
}
