import type { GatewayMethods } from './gateway-worker.js';
import { type CommonMethods, Worker } from './worker.js';

export type Gateway = Worker<GatewayMethods & CommonMethods>;

/** A gateway in a process of its own, listening. */
export async function startGateway(name: string, config: string): Promise<Gateway> {
  const gateway: Gateway = new Worker(name, new URL('./gateway-worker.js', import.meta.url));
  await gateway.call('start', config);
  return gateway;
}
