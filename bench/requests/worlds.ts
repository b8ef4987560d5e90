import type { Target } from '../bare-grpc.js';
import { createFederation } from '../federation.js';
import { startGateway } from '../gateway.js';
import { makeOrg } from '../identities.js';
import type { Rate, Spread } from '../meter.js';
import { AsyncDisposableStack } from '../stack.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { FedgateMethods } from './fedgate-worker.js';
import type { RateParams } from './load.js';
import type { RelayMethods } from './relay-worker.js';

/** Something that answers requests, ready to be measured. */
export interface Asking extends AsyncDisposable {
  rate(params: RateParams): Promise<Rate>;
  times(calls: number): Promise<Spread>;
  /** CPU time that all its processes have used so far, seconds: what a busy machine does not change. */
  cpuSeconds(): Promise<number>;
}

const startProgram = (name: string): Worker<FedgateMethods & CommonMethods> =>
  new Worker(name, new URL('./fedgate-worker.js', import.meta.url));
const startRelay = (name: string): Worker<RelayMethods & CommonMethods> =>
  new Worker(name, new URL('./relay-worker.js', import.meta.url));

/** Asker → gateway of ACME → gateway of GLOBEX → responder: four processes. */
export async function fedgateWorld(payloadBytes: number): Promise<Asking> {
  const stack = new AsyncDisposableStack();
  const { acme, globex } = stack.use(await createFederation());
  const gatewayB = stack.use(await startGateway('gateway B', globex.config));
  const gatewayA = stack.use(await startGateway('gateway A', acme.config));
  const responder = stack.use(startProgram('responder'));
  const asker = stack.use(startProgram('asker'));
  await responder.call('respond', globex.node);
  await asker.call('connect', { node: acme.node, payloadBytes });
  return asking(asker, [gatewayA, gatewayB, responder, asker], stack);
}

/** Client → relay A → relay B → server: four processes. */
export async function relayWorld(payloadBytes: number): Promise<Asking> {
  const [acme, globex] = [await makeOrg('ACME'), await makeOrg('GLOBEX')];
  const authorities = [acme.authority.certificate, globex.authority.certificate];
  const stack = new AsyncDisposableStack();
  const server = stack.use(startRelay('server'));
  const relayB = stack.use(startRelay('relay B'));
  const relayA = stack.use(startRelay('relay A'));
  const client = stack.use(startRelay('client'));
  const at = async (relay: typeof server, identity: Target['identity'], next?: Target): Promise<string> =>
    relay.call('serve', { identity, authorities, ...(next && { next }) });
  const last = await at(server, globex.gateway);
  const serverTarget = { address: last, serverName: globex.serverName, identity: globex.node, authorities };
  const second = await at(relayB, globex.gateway, serverTarget);
  const toB = { address: second, serverName: globex.serverName, identity: acme.gateway, authorities };
  const first = await at(relayA, acme.gateway, toB);
  const target = { address: first, serverName: acme.serverName, identity: acme.node, authorities };
  await client.call('connect', { target, payloadBytes });
  return asking(client, [relayA, relayB, server, client], stack);
}

/** Client → server: a bare unary round trip. */
export async function unaryWorld(payloadBytes: number): Promise<Asking> {
  const acme = await makeOrg('ACME');
  const authorities = [acme.authority.certificate];
  const stack = new AsyncDisposableStack();
  const server = stack.use(startRelay('unary server'));
  const client = stack.use(startRelay('unary client'));
  const address = await server.call('serve', { identity: acme.gateway, authorities });
  const target = { address, serverName: acme.serverName, identity: acme.node, authorities };
  await client.call('connect', { target, payloadBytes });
  return asking(client, [server, client], stack);
}

const asking = (
  worker: Worker<Pick<FedgateMethods, 'rate' | 'times'>>,
  processes: readonly Worker<CommonMethods>[],
  stack: AsyncDisposable,
): Asking => ({
  rate: params => worker.call('rate', params, TIMES_TIMEOUT_MS),
  times: calls => worker.call('times', { calls }, TIMES_TIMEOUT_MS),
  cpuSeconds: async () => {
    const each = await Promise.all(processes.map(process => process.call('cpuSeconds', undefined)));
    return each.reduce((sum, seconds) => sum + seconds, 0);
  },
  [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
});

/** On a machine that is busy with other things. */
const TIMES_TIMEOUT_MS = 300_000;
