import { setTimeout as sleep } from 'node:timers/promises';
import { LinkStatus_State } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import { type ConnectOptions, connect, type FedgateClient } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import { addNode } from '../../src/gateway/add-node.js';
import { type GatewayConfig, parseConfig } from '../../src/gateway/config.js';
import { type Gateway, startGateway } from '../../src/gateway/gateway.js';
import { createLog } from '../../src/telemetry/log.js';
import { joinOrg, startTestRegistry, type TestRegistry, type TestScope } from './registry.js';

export interface TestOrgOptions {
  /** YAML of the `access` key, as it would stand in gateway.yaml. @default everything within the own organisation */
  readonly access?: string;
  /** More YAML at the top level. */
  readonly extra?: string;
  /** Whether its record names an address. @default true */
  readonly reachable?: boolean;
  /** Where it listens for peers. @default a free port */
  readonly peers?: string;
  /** The addresses in its record. @default where it listens for peers */
  readonly addresses?: readonly string[];
}

/** What a log line holds. */
export interface LogEvent {
  readonly msg: string;
  readonly security?: boolean;
  readonly err?: { readonly reason?: string; readonly message?: string };
  readonly [field: string]: unknown;
}

export interface TestOrg {
  readonly name: string;
  readonly folder: string;
  readonly config: GatewayConfig;
  readonly gateway: Gateway;
  readonly events: LogEvent[];
  /** Resolves with the first log event, past or future, that the check accepts. */
  logged(check: (event: LogEvent) => boolean): Promise<LogEvent>;
  /** Makes a node and connects it. */
  node(name: string, options?: ConnectOptions): Promise<FedgateClient>;
  /** Makes a node; returns the path of its context file. */
  context(name: string, days?: number): Promise<string>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

const OWN_ONLY = 'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]';

/** The gateway is there, however long it takes to say so. */
export const CONNECT = { connectTimeoutMs: 30_000 } as const;

/** Joins an organisation and starts its gateway in this process. */
export async function startTestOrg(
  t: TestScope,
  registry: TestRegistry,
  name: string,
  options: TestOrgOptions = {},
): Promise<TestOrg> {
  const peers = options.peers ?? `127.0.0.1:${await freePort()}`;
  const nodes = `127.0.0.1:${await freePort()}`;
  const folder = await joinOrg(t, registry, name, {
    addresses: options.reachable === false ? [] : (options.addresses ?? [peers]),
  });
  const access = options.access ?? OWN_ONLY;
  const yaml = `listen: { nodes: "${nodes}", peers: "${peers}" }\naccess:\n  ${access.replaceAll('\n', '\n  ')}\n${options.extra ?? ''}\n`;
  const config = parseConfig(yaml, `${folder}/gateway.yaml`);
  const events: LogEvent[] = [];
  const waiting: { check: (event: LogEvent) => boolean; resolve: (event: LogEvent) => void }[] = [];
  const log = createLog({
    level: 'debug',
    format: 'json',
    destination: {
      write(line) {
        const event = JSON.parse(line) as LogEvent;
        events.push(event);
        for (const waiter of waiting.filter(({ check }) => check(event))) {
          waiting.splice(waiting.indexOf(waiter), 1);
          waiter.resolve(event);
        }
      },
    },
  });
  let gateway = await startGateway(config, log);
  let running = true;
  const stop = async (): Promise<void> => {
    if (!running) return;
    running = false;
    await gateway.stop();
  };
  t.teardown(stop);
  const context = (node: string, days?: number): Promise<string> =>
    addNode({ folder, name: node, gateway: 'gw1', address: nodes, days });
  return {
    name,
    folder,
    config,
    events,
    get gateway() {
      return gateway;
    },
    logged: check => {
      const past = events.find(check);
      return past ? Promise.resolve(past) : new Promise(resolve => waiting.push({ check, resolve }));
    },
    context,
    async node(node, connectOptions = {}) {
      const client = await connect({ ...CONNECT, ...connectOptions, context: await context(node) });
      t.teardown(() => client.close());
      return client;
    },
    stop,
    async start() {
      gateway = await startGateway(config, log);
      running = true;
    },
  };
}

/** Resolves when these gateways know what the registry knows now. */
export async function allKnow(registry: TestRegistry, orgs: readonly Pick<TestOrg, 'logged'>[]): Promise<void> {
  const { snapshotVersion } = await registry.admin.list();
  const isNewEnough = (snapshot: unknown): boolean => BigInt(String(snapshot)) >= snapshotVersion;
  await Promise.all(
    orgs.map(org =>
      org.logged(
        ({ msg, snapshot }) => ['registry snapshot taken', 'gateway started'].includes(msg) && isNewEnough(snapshot),
      ),
    ),
  );
}

const { STATE_CONNECTING, STATE_BACKOFF, STATE_UP } = LinkStatus_State;

/** Whether two gateways have one link, the same for both, or none, and want no other. */
function haveMet(one: TestOrg, other: TestOrg): boolean {
  const [there, back] = [
    one.gateway.status().links.find(({ org }) => org === other.name),
    other.gateway.status().links.find(({ org }) => org === one.name),
  ];
  if (there?.state === STATE_UP || back?.state === STATE_UP)
    return there?.state === back?.state && there?.dialled !== back?.dialled;
  return [there, back].every(link => link?.state !== STATE_CONNECTING && link?.state !== STATE_BACKOFF);
}

/**
 * Resolves when these gateways know what the registry knows now and have the links that they want: one that was dialled before it
 * listened, or that did not know the dialler yet, is dialled again only after a while, and cannot be reached until then. Of two that
 * dial each other at once one link goes soon.
 */
export async function allMet(registry: TestRegistry, ...orgs: readonly TestOrg[]): Promise<void> {
  await allKnow(registry, orgs);
  const pairs = orgs.flatMap((one, i) => orgs.slice(i + 1).map(other => [one, other] as const));
  // Polling is what the subject offers: a status.
  while (!pairs.every(([one, other]) => haveMet(one, other))) await sleep(10);
}

/** A registry and organisations that all know each other. */
export async function startFederation<Name extends string>(
  t: TestScope,
  orgs: { readonly [name in Name]: TestOrgOptions },
): Promise<{ readonly registry: TestRegistry } & { readonly [name in Name]: TestOrg }> {
  const registry = await startTestRegistry(t);
  const started: Record<string, TestOrg> = {};
  for (const [name, options] of Object.entries<TestOrgOptions>(orgs))
    started[name] = await startTestOrg(t, registry, name, options);
  await allMet(registry, ...Object.values(started));
  return { registry, ...started } as unknown as { readonly registry: TestRegistry } & {
    readonly [name in Name]: TestOrg;
  };
}

/** Reads this many messages of a subscription. */
export async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of source) if (taken.push(item) >= count) break;
  return taken;
}
