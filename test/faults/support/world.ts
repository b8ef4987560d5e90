import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../../src/demo/free-port.js';
import { addNode } from '../../../src/gateway/add-node.js';
import { orgFolder } from '../../../src/identity/org-folder.js';
import { GatewayProcess, type GatewayProcessOptions } from '../../support/gateway-process.js';
import { startTestRegistry, type TestScope } from '../../support/registry.js';
import { monotonicMs } from './events.js';
import type { ConsumerFlow, PublisherFlow } from './flows.js';
import { folderBytes, peakResidentBytes } from './measure.js';
import { NodeProcess } from './node-process.js';
import { messageId } from './payload.js';
import { FaultyWire } from './proxy.js';
import { type Random, seededRandom } from './random.js';
import { Recording } from './recording.js';

export const ORGS = ['ACME', 'GLOBEX'] as const;
export type Org = (typeof ORGS)[number];
export const otherOrg = (org: Org): Org => (org === 'ACME' ? 'GLOBEX' : 'ACME');

export type PublisherPlan = Omit<PublisherFlow, 'context' | 'from'>;
export type ConsumerPlan = Omit<ConsumerFlow, 'context'>;

export interface OrgPlan {
  readonly publishers: readonly PublisherPlan[];
  readonly consumers: readonly ConsumerPlan[];
  readonly gateway?: GatewayProcessOptions;
}

export type WorldPlan = { readonly [org in Org]: OrgPlan };

/** One organisation: its gateway, its programs, and the wire that leads to it. */
interface Side {
  readonly gateway: GatewayProcess;
  readonly wire: FaultyWire;
  plan: OrgPlan;
  node: NodeProcess | undefined;
}

const storeFolderIn = (folder: string): string => join(orgFolder(folder).state, 'store');

const access = (other: Org): string => `nodes:
  - { node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true, admin: true }
peers:
  - { org: ${other}, publish: ["**"] }`;

/**
 * Two organisations, everything of them in processes of their own: gateways, and programs that publish and consume. Each dials the other
 * through a wire that can be made faulty. All that happens is recorded.
 */
export class World {
  readonly recording = new Recording();
  readonly random: Random;
  readonly sides: { readonly [org in Org]: Side };
  readonly #scope: TestScope;
  readonly #contexts = new Map<string, Promise<string>>();
  kills = 0;

  private constructor(scope: TestScope, random: Random, sides: { readonly [org in Org]: Side }) {
    this.#scope = scope;
    this.random = random;
    this.sides = sides;
  }

  /** Starts the gateways; `prepared` runs when an organisation's folder is there and its gateway was never started. */
  static async open(
    scope: TestScope,
    random: Random,
    plan: WorldPlan,
    prepared: (org: Org, storeFolder: string) => Promise<void> = async () => undefined,
  ): Promise<World> {
    const registry = await startTestRegistry(scope);
    // Of its own: what passes a wire is no part of the plan that a seed repeats.
    const luck = seededRandom(random.seed + 1);
    const side = async (org: Org): Promise<Side> => {
      const peers = `127.0.0.1:${await freePort()}`;
      const wire = await FaultyWire.open(scope, peers, luck);
      const options = { ...plan[org].gateway, peers, addresses: [wire.address] };
      const gateway = await GatewayProcess.prepare(scope, registry, org, access(otherOrg(org)), options);
      await prepared(org, storeFolderIn(gateway.folder));
      return { gateway, wire, plan: plan[org], node: undefined };
    };
    const world = new World(scope, random, { ACME: await side('ACME'), GLOBEX: await side('GLOBEX') });
    await Promise.all(ORGS.map(org => world.sides[org].gateway.start()));
    return world;
  }

  storeFolder(org: Org): string {
    return storeFolderIn(this.sides[org].gateway.folder);
  }

  /** Starts the programs of both sides and lets them begin once all subscriptions are there. */
  async begin(): Promise<void> {
    await Promise.all(ORGS.map(org => this.startNode(org)));
    for (const org of ORGS) this.sides[org].node?.tell('go');
  }

  /** Starts the programs of one side, to go on where they were. */
  async startNode(org: Org, change: { readonly dieAfterAcks?: number } = {}): Promise<NodeProcess> {
    const side = this.sides[org];
    await side.node?.kill();
    const context = (name: string): Promise<string> => this.#context(org, name);
    const publishers = await Promise.all(
      side.plan.publishers.map(async flow => ({
        ...flow,
        context: await context(flow.name),
        from: this.recording.firstUnanswered(org, flow.name, flow.to, flow.channel),
      })),
    );
    const consumers = await Promise.all(
      side.plan.consumers.map(async flow => ({ ...flow, ...change, context: await context(flow.name) })),
    );
    const node = new NodeProcess(this.#scope, { org, publishers, consumers }, this.recording);
    side.node = node;
    await node.said('ready');
    return node;
  }

  /** Consumers take no time over a message, from their next start on. */
  hurry(org: Org): void {
    const side = this.sides[org];
    side.plan = { ...side.plan, consumers: side.plan.consumers.map(({ workMs, ...consumer }) => consumer) };
  }

  /** Issued once: a certificate takes longer than the process that it is for. */
  #context(org: Org, name: string): Promise<string> {
    const { folder, nodes } = this.sides[org].gateway;
    const known = this.#contexts.get(`${org}/${name}`) ?? addNode({ folder, name, gateway: 'gw1', address: nodes });
    this.#contexts.set(`${org}/${name}`, known);
    return known;
  }

  async killNode(org: Org): Promise<void> {
    this.recording.note('fault', `kill -9 of the programs of ${org}`);
    this.kills++;
    await this.sides[org].node?.kill();
  }

  async restartNode(org: Org): Promise<void> {
    const node = await this.startNode(org);
    node.tell('go');
    this.recording.note('healed', `the programs of ${org} are back`);
  }

  async killGateway(org: Org): Promise<void> {
    await this.measure(org);
    this.kills++;
    await this.sides[org].gateway.kill();
    this.recording.note('fault', `kill -9 of the gateway of ${org}`, org);
  }

  async restartGateway(org: Org, variables: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.sides[org].gateway.start(variables);
    this.recording.note('healed', `the gateway of ${org} is back`);
  }

  /** Writes down what a gateway takes up. */
  async measure(org: Org): Promise<void> {
    const { gateway } = this.sides[org];
    const peak = gateway.pid === undefined ? undefined : await peakResidentBytes(gateway.pid);
    if (peak === undefined) return;
    const diskBytes = await folderBytes(this.storeFolder(org));
    this.recording.append({
      kind: 'resources',
      atMs: monotonicMs(),
      process: `the gateway of ${org}`,
      peakResidentBytes: peak,
      diskBytes,
    });
  }

  /** Lets the load run until so many more messages have been delivered to a subscription. */
  async passes(subscription: string, messages: number, withinMs: number): Promise<void> {
    const aim = this.recording.deliveredCount(subscription) + messages;
    const reached = (): boolean => this.recording.deliveredCount(subscription) >= aim;
    await this.recording.until(`${messages} messages to ${subscription}`, reached, withinMs);
  }

  /** Lets the load run until so many more messages have been acknowledged to their publishers. */
  async accumulates(messages: number, withinMs: number): Promise<void> {
    const aim = this.recording.ackedCount + messages;
    await this.recording.until(`${messages} acknowledged`, () => this.recording.ackedCount >= aim, withinMs);
  }

  /** Stops the publishers of one side and waits until all of their messages are delivered and acknowledged by every subscription. */
  async rest(org: Org, withinMs: number): Promise<void> {
    const node = this.sides[org].node;
    node?.tell('finish');
    await node?.said('finished');
    const others = this.subscriptions().filter(subscription => subscription.org !== org);
    const settled = (): boolean =>
      others.every(({ name, channels }) => this.recording.unsettled(name, otherOrg(org), channels).length === 0);
    await this.recording.until(`all of ${org} acknowledged by consumers`, settled, withinMs);
  }

  /** Waits without a part in the random choices. */
  quiet(ms: number): Promise<void> {
    return sleep(ms, undefined, { ref: false });
  }

  pause(leastMs: number, mostMs: number): Promise<void> {
    return sleep(this.random.between(leastMs, mostMs));
  }

  /** Lets publishers finish, and waits until all that was acknowledged is delivered and acknowledged. Whatever is missing then is lost. */
  async finish(withinMs: number): Promise<void> {
    const nodes = ORGS.flatMap(org => this.sides[org].node ?? []);
    for (const node of nodes) node.tell('finish');
    const timeout = new Promise<never>((_, reject) => {
      const late = (): Error => new Error(`not answered within ${withinMs} ms: ${this.#unanswered().join(', ')}`);
      const timer = setTimeout(() => reject(late()), withinMs);
      timer.unref();
    });
    await Promise.race([Promise.all(nodes.map(node => node.said('finished'))), timeout]);
    // What consumers were told is missing will not come.
    const waiting = (): boolean =>
      this.subscriptions().some(
        ({ name, org, channels }) =>
          this.recording.undelivered(name, org, channels).length > this.recording.toldMissing(name),
      );
    await this.recording
      .until('all that was acknowledged delivered', () => !waiting(), withinMs)
      .catch(() => undefined);
    for (const org of ORGS) await this.measure(org);
  }

  /** The first message of each publisher that has no good answer, for whoever looks into why. */
  #unanswered(): string[] {
    return ORGS.flatMap(org =>
      this.sides[org].plan.publishers.map(({ name, to, channel }) => {
        const n = this.recording.firstUnanswered(org, name, to, channel);
        return messageId({ org, publisher: name, to, channel, n });
      }),
    );
  }

  /** The durable subscriptions of both sides, for the checker: each covers all channels that its side is sent. */
  subscriptions(): { name: string; org: Org; channels: string[]; group: boolean }[] {
    return ORGS.flatMap(org => {
      const channels = this.sides[otherOrg(org)].plan.publishers.map(({ channel }) => channel);
      const plans = new Map(this.sides[org].plan.consumers.map(plan => [plan.subscription, plan]));
      return [...plans.values()].map(({ subscription, group }) => ({ name: subscription, org, channels, group }));
    });
  }
}
