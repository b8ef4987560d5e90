import test from 'ava';
import { connect, type FedgateClient, type NodePresence, type Responding } from '../../src/client/index.js';
import { freePort } from '../../src/demo/free-port.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { startTestRegistry, type TestScope } from '../support/registry.js';

const LINKS = 'links: { heartbeatMs: 200, deadAfterMs: 10000 }';
const ACME_ACCESS = `nodes: [{ node: ops, nodes: ["*"], request: ["pubsub://*/role/**"] }, { node: deaf, nodes: ["*"] }]`;
const GLOBEX_ACCESS = `nodes: [{ node: "*", respond: ["**"] }, { node: ops, nodes: ["*"], request: ["role/**"] }]
peers: [{ org: ACME, nodes: ["*"], request: ["role/**"] }]`;
/** Nodes that connect, enable and disable in the same moment. */
const NODES = 40;

interface Scene {
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  readonly wire: FaultyWire;
}

let scene: Scene;
const undo: (() => unknown)[] = [];

test.before(async () => {
  const t: TestScope = { teardown: action => void undo.push(action) };
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const wire = await FaultyWire.open(t, peers, seededRandom(11));
  const reach = { peers, addresses: [wire.address] };
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', { access: GLOBEX_ACCESS, extra: LINKS, ...reach });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ACME_ACCESS, extra: LINKS, reachable: false });
  await allMet(registry, ACME, GLOBEX);
  scene = { ACME, GLOBEX, wire };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** What a watcher knows by now, and a promise of what a check waits for. */
class Watch {
  readonly nodes = new Map<string, NodePresence>();
  interruptions = 0;
  #check: () => void = () => undefined;

  constructor(client: FedgateClient, signal: AbortSignal, org?: string) {
    void this.#run(client.nodes.watch({ signal, ...(org ? { org } : {}) }));
  }

  async #run(changes: ReturnType<FedgateClient['nodes']['watch']>): Promise<void> {
    for await (const { nodes, interrupted } of changes) {
      if (interrupted) this.interruptions++;
      for (const node of nodes) this.nodes.set(node.node, node);
      this.#check();
    }
  }

  until(check: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#check = () => {
        if (check()) resolve();
      };
      this.#check();
    });
  }
}

const random = seededRandom(3);

/** Changes a role some times without waiting. Returns whether it is enabled in the end. */
function flip(responding: Responding): boolean {
  let enabled = false;
  for (let i = 0; i <= random.between(0, 4); i++) {
    enabled = random.between(0, 1) === 1;
    const change = enabled ? responding.enable() : responding.disable();
    change.catch(() => undefined);
  }
  return enabled;
}

test.serial(
  `roles: ${NODES} that change in the very moment of connecting, and of the link coming up, are seen as they are by everyone concerned`,
  async t => {
    t.timeout(120_000);
    const { ACME, GLOBEX, wire } = scene;
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const own = new Watch(await GLOBEX.node('ops'), stop.signal);
    const far = new Watch(await ACME.node('ops'), stop.signal, 'GLOBEX');
    const deaf = new Watch(await ACME.node('deaf'), stop.signal, 'GLOBEX');
    const wanted = new Map<string, boolean>();
    const names = Array.from({ length: NODES }, (_, i) => `n${i}`);
    const contexts = await Promise.all(names.map(name => GLOBEX.context(name)));
    const roles = await Promise.all(
      names.map(async (name, i) => {
        const client = await connect({ context: contexts[i] as string, connectTimeoutMs: 60_000 });
        t.teardown(() => client.close());
        const responding = client.respond([`role/${name}`, `secret/${name}`], () => name);
        wanted.set(name, flip(responding));
        return responding;
      }),
    );
    const right = (watch: Watch): boolean =>
      names.every(name => watch.nodes.get(name)?.patterns.join() === (wanted.get(name) ? `role/${name}` : ''));
    await own.until(() => right(own));
    await far.until(() => right(far));
    for (let round = 0; round < 2; round++) {
      const linked = ACME.events.filter(({ msg, state }) => msg === 'link' && state === 'up').length;
      const { interruptions } = far;
      wire.cut();
      await far.until(() => far.interruptions > interruptions);
      wire.heal();
      // From before the link is up until after it.
      let up = 0;
      while (up < 3) {
        for (const [i, name] of names.entries())
          if (random.between(0, 9) === 0) wanted.set(name, flip(roles[i] as Responding));
        await new Promise(resolve => setTimeout(resolve, 5));
        if (ACME.events.filter(({ msg, state }) => msg === 'link' && state === 'up').length > linked) up++;
      }
      await far.until(() => right(far));
      await own.until(() => right(own));
    }
    await deaf.until(() => names.every(name => deaf.nodes.has(name)));
    t.true(
      [...deaf.nodes.values()].every(({ patterns }) => patterns.length === 0),
      'who may not ask is told of no role',
    );
    t.true(far.interruptions >= 2);
    const [first] = names;
    const list = await (await ACME.node('ops')).nodes.list('GLOBEX');
    t.is(list.find(({ node }) => node === first)?.patterns.length, wanted.get(first as string) ? 1 : 0);
  },
);
