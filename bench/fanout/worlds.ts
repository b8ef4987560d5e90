import type { Target } from '../bare-grpc.js';
import { createFederation } from '../federation.js';
import { startGateway } from '../gateway.js';
import { makeOrg } from '../identities.js';
import type { MeasureParams, Rate } from '../meter.js';
import { AsyncDisposableStack } from '../stack.js';
import { type CommonMethods, Worker } from '../worker.js';
import type { BareMethods } from './bare-worker.js';
import { Bare, FEDGATE, type HubMethods } from './frames.js';
import type { FanoutOptions, SystemName } from './options.js';
import type { RawMethods } from './raw-worker.js';
import type { SdkMethods } from './sdk-worker.js';

type Counting = Worker<{ measure(params: MeasureParams): Promise<Rate> } & CommonMethods>;

/** A hub with its subscribers, to whom somebody publishes without end. */
export interface FanoutWorld extends AsyncDisposable {
  readonly hub: Worker<CommonMethods>;
  readonly publisher: Worker<CommonMethods>;
  readonly subscribers: readonly Counting[];
}

type Load = Pick<FanoutOptions, 'subscribers' | 'processes' | 'connections' | 'payloadBytes'> & {
  readonly batch: number;
};

const startRaw = (name: string): Worker<RawMethods & CommonMethods> =>
  new Worker(name, new URL('./raw-worker.js', import.meta.url));
const startSdk = (name: string): Worker<SdkMethods & CommonMethods> =>
  new Worker(name, new URL('./sdk-worker.js', import.meta.url));
const startBare = (name: string): Worker<BareMethods & CommonMethods> =>
  new Worker(name, new URL('./bare-worker.js', import.meta.url));

export async function startWorld(system: SystemName, load: Load): Promise<FanoutWorld> {
  const stack = new AsyncDisposableStack();
  try {
    return system === 'bare' ? await bareWorld(stack, load) : await fedgateWorld(stack, load, system === 'fedgate-sdk');
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}

async function bareWorld(stack: AsyncDisposableStack, load: Load): Promise<FanoutWorld> {
  const acme = await makeOrg('ACME');
  const authorities = [acme.authority.certificate];
  const hub = stack.use(startBare('hub'));
  const address = await hub.call('serve', { identity: acme.gateway, authorities });
  const target = { address, serverName: acme.serverName, identity: acme.node, authorities };
  const paths = { publish: Bare.publish.path, subscribe: Bare.subscribe.path };
  return await around(stack, hub, { target, hub: paths, load });
}

async function fedgateWorld(stack: AsyncDisposableStack, load: Load, sdk: boolean): Promise<FanoutWorld> {
  const { acme } = stack.use(await createFederation());
  const hub = stack.use(await startGateway('gateway', acme.config));
  const { node } = acme;
  if (!sdk) return await around(stack, hub, { target: node, hub: FEDGATE, load });
  const subscribers = await Promise.all(
    shares(load).map(async (streams, i) => {
      const worker = stack.use(startSdk(`subscriber ${i}`));
      await worker.call('subscribe', { node, streams });
      return worker;
    }),
  );
  return world(stack, { hub, subscribers, publisher: await publish(stack, { target: node, hub: FEDGATE, load }) });
}

interface Around {
  readonly target: Target;
  readonly hub: HubMethods;
  readonly load: Load;
}

/** Raw subscribers and a raw publisher. */
async function around(stack: AsyncDisposableStack, hub: Worker<CommonMethods>, at: Around): Promise<FanoutWorld> {
  const { connections, payloadBytes } = at.load;
  const subscribers = await Promise.all(
    shares(at.load).map(async (streams, i) => {
      const worker = stack.use(startRaw(`subscriber ${i}`));
      await worker.call('subscribe', { target: at.target, hub: at.hub, streams, connections, payloadBytes });
      return worker;
    }),
  );
  return world(stack, { hub, subscribers, publisher: await publish(stack, at) });
}

async function publish(stack: AsyncDisposableStack, { target, hub, load }: Around): Promise<Worker<CommonMethods>> {
  const publisher = stack.use(startRaw('publisher'));
  await publisher.call('publish', { target, hub, payloadBytes: load.payloadBytes, batch: load.batch });
  return publisher;
}

/** How many subscriptions each process has. */
const shares = ({ subscribers, processes }: Load): number[] =>
  Array.from({ length: processes }, (_, i) => Math.floor((subscribers + i) / processes));

const world = (stack: AsyncDisposableStack, parts: Omit<FanoutWorld, keyof AsyncDisposable>): FanoutWorld => ({
  ...parts,
  [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
});
