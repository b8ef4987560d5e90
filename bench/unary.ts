import { makeOrg } from './identities.js';
import type { UnaryMethods } from './unary-worker.js';
import { type CommonMethods, Worker } from './worker.js';

const start = (name: string): Worker<UnaryMethods & CommonMethods> =>
  new Worker(name, new URL('./unary-worker.js', import.meta.url));

/** Times of sequential unary calls between two processes over mutual TLS, milliseconds. */
export async function measureUnaryRoundTrips(payloadBytes: number, calls: number): Promise<number[]> {
  const acme = await makeOrg('ACME');
  const authorities = [acme.authority.certificate];
  await using server = start('unary server');
  await using client = start('unary client');
  const address = await server.call('serve', { identity: acme.gateway, authorities });
  const target = { address, serverName: acme.serverName, identity: acme.node, authorities };
  return await client.call('roundTrips', { ...target, calls, payloadBytes });
}
