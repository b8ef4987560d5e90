import { readFile, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { GatewayServiceService } from '../../gen/ts/fedgate/gateway/v1/gateway_service.js';
import type { FedgateClient } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { parseHostPort } from '../../src/identity/names.js';
import { callServerStream } from '../../src/transport/client-calls.js';
import { a, srv, startDns, type TestDns } from '../support/dns-server.js';
import { allKnow, allMet, startTestOrg, type TestOrg } from '../support/federation.js';
import { LIVE } from '../support/live.js';
import { freeUdpPort, whyNoMulticast } from '../support/multicast.js';
import { startTestRegistry, type TestRegistry } from '../support/registry.js';

const ALL =
  'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]\n' +
  'peers: [{ org: "*", publish: ["**"] }]';
const HERE = 'localPlaces: true';
const NOWHERE = '127.0.0.1:1';

/** Nobody is dialled before something is published there. */
const finding = (...parts: readonly string[]): string => `links: { dial: demand }\nfinding: { ${parts.join(', ')} }`;
const DEMAND = finding();

/** From where the gateway of one organisation found that of another. */
const foundBy = (org: TestOrg, other: string): string | undefined =>
  org.gateway.status().links.find(link => link.org === other)?.foundBy;

async function doctor(org: TestOrg, other: string): Promise<string[]> {
  const { channel } = await org.node('doctor');
  const lines: string[] = [];
  const { signal } = new AbortController();
  for await (const { step, ok, detail } of callServerStream(
    channel,
    GatewayServiceService.diagnose,
    { org: other },
    signal,
  ))
    lines.push(`${step} ${ok} ${detail}`);
  return lines;
}

/** Its registry is somewhere where nobody is. Takes effect when its gateway starts. */
async function loseRegistry({ folder, stop, start }: TestOrg): Promise<void> {
  await stop();
  const path = `${folder}/fedgate.json`;
  const membership = JSON.parse(await readFile(path, 'utf8')) as { registry: { addresses: string[] } };
  membership.registry.addresses = [NOWHERE];
  await writeFile(path, JSON.stringify(membership));
  await start();
}

/**
 * GLOBEX and INITECH and HOOLI are in the registry without an address that leads to them. ACME has one of GLOBEX in its configuration, DNS
 * knows INITECH, and GLOBEX knows HOOLI. UMBRELLA has a good record, and ACME a wrong address for it.
 */
interface Scene {
  readonly registry: TestRegistry;
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  readonly INITECH: TestOrg;
  readonly HOOLI: TestOrg;
  readonly UMBRELLA: TestOrg;
  readonly node: FedgateClient;
  readonly dns: TestDns;
}

const SRV_NAME = '_fedgate._tcp.initech.example';
let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const registry = await startTestRegistry(scope);
  const hidden = { access: ALL, reachable: false, extra: DEMAND };
  const HOOLI = await startTestOrg(scope, registry, 'HOOLI', hidden);
  const INITECH = await startTestOrg(scope, registry, 'INITECH', { access: ALL, addresses: [NOWHERE], extra: DEMAND });
  const UMBRELLA = await startTestOrg(scope, registry, 'UMBRELLA', { access: ALL, extra: DEMAND });
  const shared = 'acquaintance: { addresses: true }';
  const GLOBEX = await startTestOrg(scope, registry, 'GLOBEX', {
    ...hidden,
    extra: finding(shared, `static: { HOOLI: ["${HOOLI.gateway.peerAddress}"] }`),
  });
  const portOf = (org: TestOrg): number => parseHostPort(org.gateway.peerAddress, 'address').port;
  const dns = await startDns(scope, [
    srv(SRV_NAME, 'evil.example', portOf(UMBRELLA), 1),
    srv(SRV_NAME, 'gw1.initech.fed.example', portOf(INITECH), 2),
    srv(SRV_NAME, 'nobody.example', 7, 0),
    a('evil.example', '127.0.0.1'),
    a('gw1.initech.fed.example', '127.0.0.1'),
  ]);
  const globex = GLOBEX.gateway.peerAddress;
  const ACME = await startTestOrg(scope, registry, 'ACME', {
    access: ALL,
    extra: finding(
      HERE,
      shared,
      // Of GLOBEX, the first is nobody's and the second somebody else's name.
      `static: { GLOBEX: ["${NOWHERE}", "gw2@${globex}", "${globex}"], UMBRELLA: ["${INITECH.gateway.peerAddress}"] }`,
      `dns: { enabled: true, servers: ["${dns.address}"], domains: { INITECH: initech.example } }`,
    ),
  });
  await allMet(registry, HOOLI, INITECH, UMBRELLA, GLOBEX, ACME);
  const node = await ACME.node('n');
  scene = { registry, ACME, GLOBEX, INITECH, HOOLI, UMBRELLA, node, dns };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const story = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(title, t => run(t, scene));

story(
  'finding: an address in the configuration leads to whom the registry knows without one',
  async (t, { ACME, GLOBEX, node }) => {
    await node.publish('pubsub://GLOBEX/x', 'hello', LIVE);
    t.is(foundBy(ACME, 'GLOBEX'), 'static');
    const { peerAddress } = GLOBEX.gateway;
    const steps = await doctor(ACME, 'GLOBEX');
    t.regex(steps[1] ?? '', /^2 true active, record 1, without an address/);
    t.true(
      steps[2]?.startsWith(
        `7 true static: ${NOWHERE}, gw2@${peerAddress}, ${peerAddress}; registry: the record of GLOBEX has no address; dns: `,
      ),
      steps[2],
    );
    t.true(steps.some(step => /^3 true .*an address from static/.test(step)));
    t.regex(steps.at(-1) ?? '', /^6 true/);
  },
);

story(
  'finding: an address that leads to somebody else is refused, and the right one is used',
  async (t, { ACME, UMBRELLA, node }) => {
    await node.publish('pubsub://UMBRELLA/x', 'hello', LIVE);
    const link = ACME.gateway.status().links.find(({ org }) => org === 'UMBRELLA');
    t.like(link, { address: UMBRELLA.gateway.peerAddress, foundBy: 'registry', gateway: 'gw1' });
  },
);

story(
  'finding: DNS points the way when the record leads nowhere, and lies in it cost a dial',
  async (t, { ACME, node, dns }) => {
    await node.publish('pubsub://INITECH/x', 'hello', LIVE);
    t.is(foundBy(ACME, 'INITECH'), 'dns');
    t.true(dns.asked.includes(`SRV ${SRV_NAME}`));
    dns.silent = true;
    const steps = await doctor(ACME, 'INITECH').finally(() => (dns.silent = false));
    t.regex(steps[2] ?? '', /^7 true static: nothing; registry: gw1@127\.0\.0\.1:1; dns: (no answer|.*TIMEOUT)/i);
  },
);

story(
  'acquaintance: a peer says where it reaches somebody whose record leads nowhere',
  async (t, { ACME, GLOBEX, HOOLI, node }) => {
    await (await GLOBEX.node('n')).publish('pubsub://HOOLI/x', 'hello', LIVE);
    await node.publish('pubsub://GLOBEX/x', 'hello', LIVE);
    await node.publish('pubsub://HOOLI/x', 'hello', LIVE);
    t.is(foundBy(ACME, 'HOOLI'), 'acquaintance');
    const steps = await doctor(ACME, 'HOOLI');
    t.true(steps[2]?.endsWith(`; acquaintance: gw1@${HOOLI.gateway.peerAddress}`), steps[2]);
  },
);

story('finding: without leave a hint does not lead to this machine', async (t, { GLOBEX, registry, dns }) => {
  const name = '_fedgate._tcp.globex.fed.example';
  const { port } = parseHostPort(GLOBEX.gateway.peerAddress, 'address');
  dns.records.push(srv(name, 'gw1.globex.fed.example', port), a('gw1.globex.fed.example', '127.0.0.1'));
  const careful = await startTestOrg(t, registry, 'CAREFUL', {
    access: ALL,
    extra: finding(`dns: { enabled: true, servers: ["${dns.address}"] }`),
  });
  await allMet(registry, careful, GLOBEX);
  const client = await careful.node('n');
  const refused = await t.throwsAsync<FedgateError>(client.publish('pubsub://GLOBEX/x', 'hello', LIVE));
  t.is(refused?.reason, 'PEER_UNREACHABLE');
  const steps = await doctor(careful, 'GLOBEX');
  t.regex(steps.at(-1) ?? '', /^7 false nobody knows an address of GLOBEX: .*dns: nothing \(1 not to be dialled\)/);
});

story('finding: two gateways on one network find each other by multicast', async (t, { registry }) => {
  const port = await freeUdpPort();
  const why = await whyNoMulticast(port);
  // Without multicast here test/finding/mdns.test.ts still reads what would be told.
  if (why !== undefined) t.log(`no multicast: ${why}`);
  const extra = finding(HERE, `mdns: { enabled: ${why === undefined}, interface: 127.0.0.1, port: ${port} }`);
  const there = await startTestOrg(t, registry, 'THERE', { access: ALL, reachable: false, extra });
  const here = await startTestOrg(t, registry, 'HERE', { access: ALL, extra });
  await allKnow(registry, [there, here]);
  const node = await here.node('n');
  const publish = node.publish('pubsub://THERE/x', 'hello', LIVE);
  if (why === undefined) {
    await publish;
    t.is(foundBy(here, 'THERE'), 'mdns');
    t.is(foundBy(there, 'HERE'), '');
  } else t.is((await t.throwsAsync<FedgateError>(publish))?.reason, 'PEER_UNREACHABLE');
});

story(
  'acquaintance: who cannot reach the registry learns of a new member, and of a suspended one, from a peer',
  async (t, { ACME, registry }) => {
    await loseRegistry(ACME);
    const node = await ACME.node('after');
    await node.publish('pubsub://UMBRELLA/x', 'hello', LIVE);
    await startTestOrg(t, registry, 'NEWCOMER', { access: ALL, extra: DEMAND });
    // One that came earlier may be from before the newcomer.
    const { snapshotVersion } = await registry.admin.list();
    await ACME.logged(
      ({ msg, snapshot }) =>
        msg === 'registry snapshot came through a peer' && BigInt(String(snapshot)) >= snapshotVersion,
    );
    t.false(ACME.gateway.status().registry?.connected);
    await node.publish('pubsub://NEWCOMER/x', 'welcome', LIVE);
    await registry.admin.setState('NEWCOMER', 'suspended');
    await ACME.logged(({ msg, org, state }) => msg === 'link' && org === 'NEWCOMER' && state === 'blocked');
    const refused = await t.throwsAsync<FedgateError>(node.publish('pubsub://NEWCOMER/x', 'still?', LIVE));
    t.is(refused?.reason, 'ORG_INACTIVE');
  },
);
