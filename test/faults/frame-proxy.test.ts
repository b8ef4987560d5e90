import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../src/demo/free-port.js';
import { LANE } from '../../src/link/hello.js';
import { allMet, startTestOrg, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';
import { startTestRegistry } from '../support/registry.js';
import { FrameProxy, type PassingFrame, type Tamper, untouched } from './support/frame-proxy.js';
import { FaultyWire } from './support/proxy.js';
import { seededRandom } from './support/random.js';
import { drop, duplicate, type Prey, reorder, replay } from './support/tampering.js';

const ACCESS = `nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true }]
peers: [{ org: "*", publish: ["orders/*"] }]`;

/** ACME dials GLOBEX, through somebody who holds the keys of both. */
async function scene(t: ExecutionContext, tamper: Tamper = untouched) {
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const wire = await FaultyWire.open(t, peers, seededRandom(1));
  const GLOBEX = await startTestOrg(t, registry, 'GLOBEX', { access: ACCESS, peers, addresses: [wire.address] });
  const ACME = await startTestOrg(t, registry, 'ACME', { access: ACCESS, reachable: false });
  const proxy = await FrameProxy.open(t, {
    dialler: { org: 'ACME', folder: ACME.folder },
    dialled: { org: 'GLOBEX', folder: GLOBEX.folder },
    target: peers,
  });
  proxy.tamper = tamper;
  await allMet(registry, GLOBEX, ACME);
  const before = new Set(ACME.events);
  wire.redirect(proxy.address);
  await ACME.logged(event => event.msg === 'link' && event.state === 'up' && !before.has(event));
  const publisher = await ACME.node('pub');
  const subscription = (await GLOBEX.node('sub')).subscribe('orders/*');
  await subscription.opened;
  const publish = (text: string) => publisher.publish('pubsub://GLOBEX/orders/new', text, LIVE);
  return { ACME, GLOBEX, proxy, subscription, publish };
}

const batches: Prey = ({ lane, from, kind }) => lane === LANE.mail && from === 'ACME' && kind === 'batch';

test('frame proxy: a link works through it, and it sees every frame of every lane', async t => {
  const seen: PassingFrame[] = [];
  const { subscription, publish } = await scene(t, frame => {
    seen.push(frame);
    return [frame.bytes];
  });
  await publish('one');
  t.deepEqual(
    (await take(subscription, 1)).map(({ text }) => text),
    ['one'],
  );
  const kinds = (lane: number, from: string) => seen.filter(f => f.lane === lane && f.from === from).map(f => f.kind);
  t.deepEqual(kinds(LANE.mail, 'ACME'), ['hello', 'batch']);
  t.deepEqual(kinds(LANE.mail, 'GLOBEX'), ['hello', 'batchOutcome']);
  t.deepEqual(kinds(LANE.control, 'ACME').slice(0, 1), ['hello']);
});

for (const { title, attack, reason } of [
  { title: 'a repeated batch', attack: () => duplicate(batches, 2), reason: 'REPLAYED' },
  { title: 'an old batch', attack: () => replay(batches, 2), reason: 'REPLAYED' },
  { title: 'batches in another order', attack: () => reorder(batches, 2), reason: 'FRAME_UNEXPECTED' },
  { title: 'a missing batch', attack: () => drop(batches, 2), reason: 'FRAME_UNEXPECTED' },
]) {
  test(`frame proxy: ${title} ends the live link with ${reason}, and the next link works`, async t => {
    const { GLOBEX, proxy, publish } = await scene(t);
    await publish('first');
    const { tamper, done } = attack();
    proxy.tamper = tamper;
    const closed = GLOBEX.logged(event => event.err?.reason === reason);
    // Nobody waits for an answer: that to a batch which was dropped never comes.
    const voice = setInterval(() => publish('more').catch(() => undefined), 20);
    t.teardown(() => clearInterval(voice));
    await done;
    await closed;
    await t.notThrowsAsync(eventually(() => publish('again')));
  });
}

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries > 200) throw error;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
}
