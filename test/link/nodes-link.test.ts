import test from 'ava';
import { NodesTold } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { FedgateError } from '../../src/errors.js';
import type { OrgName } from '../../src/identity/names.js';
import { ASK_RATE, MAX_OPEN_ASKS } from '../../src/link/nodes-terms.js';
import { parsePattern } from '../../src/messaging/address.js';
import { NodeChanges } from '../../src/presence/changes.js';
import { Presence } from '../../src/presence/presence.js';
import { frameBytes, HostileGateway, type HostileLink, otherFrame } from '../support/attack.js';
import { Members, PeerGateway } from '../support/peer-gateway.js';
import type { TestScope } from '../support/registry.js';

const ACME = 'ACME' as OrgName;
const GLOBEX = 'GLOBEX' as OrgName;
const never = (): AbortSignal => new AbortController().signal;
const arrive = (presence: Presence, name: string) =>
  presence.arrived({ name, notAfterMs: Number.MAX_SAFE_INTEGER, good: () => true });

interface Scene {
  readonly presence: Presence;
  readonly acme: PeerGateway;
  readonly globex: PeerGateway;
}

/** ACME asks, GLOBEX has nodes and shows those that begin with `s` to ACME's `ops`. */
async function scene(t: TestScope, tells = true): Promise<Scene> {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const presence = new Presence(() => 1_000);
  const exposes = (org: string, asker: string, node: string): boolean =>
    org === 'ACME' && asker === 'ops' && node.startsWith('s');
  const askable = () => [parsePattern('quotes/*')];
  const holder = { nodes: presence, exposes, askable };
  const there = await PeerGateway.open(t, members, GLOBEX, globex, undefined, tells ? { nodes: holder } : {});
  members.addresses.set('GLOBEX', [there.address]);
  const nothing = { nodes: new Presence(() => 1_000), exposes: () => false, askable: () => [] };
  const here = await PeerGateway.open(t, members, ACME, acme, undefined, { nodes: nothing });
  return { presence, acme: here, globex: there };
}

test('nodes over a link: only what is shown to the asker is told, and each change of it', async t => {
  const { presence, acme } = await scene(t);
  arrive(presence, 'shown');
  arrive(presence, 'hidden');
  const nodes = await acme.peers.askNodes(GLOBEX, 'ops', never());
  t.deepEqual([...nodes.names()], ['shown']);
  t.deepEqual(nodes.get('shown'), presence.get('shown'));
  const changed = new Promise<string>(resolve => nodes.onChange(resolve));
  arrive(presence, 'hidden-too');
  arrive(presence, 'second');
  t.is(await changed, 'second');
  t.deepEqual([...nodes.names()], ['shown', 'second']);
  presence.role('shown', 'secret/keys', 1);
  presence.role('shown', 'quotes/steel', 1);
  await new Promise(resolve => nodes.onChange(resolve));
  t.deepEqual(nodes.get('shown')?.patterns, ['quotes/steel'], 'where it may not ask it is not told of');
  nodes.close();
  t.is((await nodes.ended).reason, 'CANCELLED');
  t.deepEqual([...(await acme.peers.askNodes(GLOBEX, 'other', never())).names()], []);
  t.deepEqual([...(await acme.peers.askNodes(GLOBEX, 'ops', never(), 'second')).names()], ['second']);
  const [hidden, ghost] = [
    await acme.peers.askNodes(GLOBEX, 'ops', never(), 'hidden'),
    await acme.peers.askNodes(GLOBEX, 'ops', never(), 'ghost'),
  ];
  t.deepEqual(
    [hidden, ghost].map(each => [...each.names()]),
    [[], []],
  );
});

test('nodes over a link: a gateway that does not tell of nodes is not asked, and the link stays', async t => {
  const { acme } = await scene(t, false);
  const refused = await t.throwsAsync<FedgateError>(acme.peers.askNodes(GLOBEX, 'ops', never()));
  t.is(refused?.reason, 'FEATURE_UNSUPPORTED');
  t.true(acme.peers.get(GLOBEX)?.link?.usable);
});

test('nodes over a link: the end of the link ends each question', async t => {
  const { presence, acme, globex } = await scene(t);
  arrive(presence, 'shown');
  const nodes = await acme.peers.askNodes(GLOBEX, 'ops', never());
  await globex.stop();
  t.is((await nodes.ended).reason, 'PEER_UNREACHABLE');
});

test('presence storm over a link: 1,000 nodes that come and go all the time cost a few frames, and end as they are', async t => {
  const { presence, acme } = await scene(t);
  const nodes = await acme.peers.askNodes(GLOBEX, 'ops', never());
  let told = 0;
  nodes.onChange(() => told++);
  const rounds = 300;
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 1_000; i++) arrive(presence, `s${i}`)('lost');
    await new Promise(resolve => setImmediate(resolve));
  }
  arrive(presence, 's-last');
  while (nodes.get('s-last') === undefined || nodes.size < 1_001)
    await new Promise<void>(resolve => {
      const off = nodes.onChange(() => {
        off();
        resolve();
      });
    });
  t.true(told < (1_000 * rounds) / 10, `${told} changes were told`);
  t.is(nodes.get('s7')?.state, 'away');
  t.true(acme.peers.get(GLOBEX)?.link?.usable);
  t.log(`${1_000 * rounds * 2} changes, ${told} told`);
});

/** A gateway of ACME's that does as it likes, and the gateway of GLOBEX that it is linked to. */
async function hostileScene(t: TestScope): Promise<{ link: HostileLink; presence: Presence; globex: PeerGateway }> {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const presence = new Presence(() => 1_000);
  const host = {
    nodes: presence,
    exposes: (_org: string, _asker: string, node: string) => node !== 'hidden',
    askable: () => [],
  };
  const gateway = await PeerGateway.open(t, members, GLOBEX, globex, undefined, { nodes: host });
  const hostile = new HostileGateway(t, ACME, acme.identity, gateway.address, [globex.authority.certificate]);
  return { link: await hostile.link(77n, { capabilities: ['presence'] }), presence, globex: gateway };
}

const ask = (id: number, change: { asker?: string; node?: string } = {}): Buffer =>
  frameBytes({ $case: 'nodesAsk', value: { id, asker: 'ops', node: '', ...change } });

/** The first answer to a question that a check accepts. */
const answer = (link: HostileLink, check: (told: NodesTold) => boolean): Promise<NodesTold> =>
  link.control.until(bytes => {
    const frame = otherFrame(bytes);
    return frame?.$case === 'nodesTold' && check(frame.value) ? NodesTold.fromPartial(frame.value) : undefined;
  });

test('hostile nodes: questions out of order, with bad names, and answers to none end the link', async t => {
  const frames: readonly (readonly [readonly Buffer[], string])[] = [
    [[ask(2), ask(2)], 'FRAME_UNEXPECTED'],
    [[ask(0)], 'FRAME_UNEXPECTED'],
    [[ask(1, { asker: 'No!' })], 'FIELD_INVALID'],
    [[ask(1, { node: '*' })], 'FIELD_INVALID'],
    [
      [frameBytes({ $case: 'nodesTold', value: { id: 1, nodes: [], complete: true, error: undefined } })],
      'FRAME_UNEXPECTED',
    ],
  ];
  for (const [sent, reason] of frames) {
    const { link } = await hostileScene(t);
    for (const frame of sent) link.control.write(frame);
    t.is((await link.control.ended)?.reason, reason as FedgateError['reason']);
  }
});

test('hostile nodes: too many questions are refused, and those that are open go on', async t => {
  const { link, presence } = await hostileScene(t);
  t.true(ASK_RATE.burst < MAX_OPEN_ASKS);
  for (let id = 1; id <= 1_000; id++) link.control.write(ask(id));
  const refused = await answer(link, ({ error }) => error !== undefined);
  t.true(refused.id > ASK_RATE.burst);
  arrive(presence, 'erp');
  t.is((await answer(link, ({ id, nodes }) => id === 1 && nodes.length > 0)).nodes[0]?.node, 'erp');
  link.control.write(frameBytes({ $case: 'nodesClose', value: { id: 1 } }));
  link.control.write(frameBytes({ $case: 'nodesClose', value: { id: 999 } }));
  link.control.write(frameBytes({ $case: 'ping', value: { nonce: 7n } }));
  await link.control.until(bytes => {
    const frame = otherFrame(bytes);
    return frame?.$case === 'pong' && frame.value.nonce === 7n ? true : undefined;
  });
  t.pass();
});

test('hostile nodes: a peer that tells nonsense of its nodes ends the link, and one that tells too many is cut short', async t => {
  const { link, globex } = await hostileScene(t);
  const tell = (id: number, names: readonly string[], more = {}): Buffer => {
    const nodes = names.map(node => ({
      org: 'NOT-ACME',
      node,
      state: 99 as never,
      sinceTimeMs: -5n,
      reason: 77 as never,
      inbox: true,
      patterns: ['quotes/steel'],
      patternsCut: true,
      ...more,
    }));
    return frameBytes({ $case: 'nodesTold', value: { id, nodes, complete: true, error: undefined } });
  };
  const asked = globex.peers.askNodes(ACME, 'spy', never());
  await link.control.until(bytes => (otherFrame(bytes)?.$case === 'nodesAsk' ? true : undefined));
  link.control.write(tell(1, ['odd']));
  const nodes = await asked;
  t.deepEqual(nodes.get('odd'), {
    ...{ node: 'odd', state: 'away', sinceMs: 0, why: undefined, inbox: true },
    ...{ patterns: ['quotes/steel'], patternsCut: true },
  });
  const watching = new NodeChanges(
    nodes,
    { node: () => true, pattern: () => true },
    { writable: true, put: () => undefined },
  );
  for (let i = 0; i < 30; i++)
    link.control.write(
      tell(
        1,
        Array.from({ length: 500 }, (_, j) => `n${i * 500 + j}`),
      ),
    );
  link.control.write(frameBytes({ $case: 'ping', value: { nonce: 9n } }));
  await link.control.until(bytes => {
    const frame = otherFrame(bytes);
    return frame?.$case === 'pong' && frame.value.nonce === 9n ? true : undefined;
  });
  t.is(nodes.size, 10_000);
  watching.close();
  const one = globex.peers.askNodes(ACME, 'spy', never(), 'erp');
  await link.control.until(bytes => {
    const frame = otherFrame(bytes);
    return frame?.$case === 'nodesAsk' && frame.value.id === 2 ? true : undefined;
  });
  link.control.write(tell(2, ['another']));
  t.is((await t.throwsAsync<FedgateError>(one))?.reason, 'PEER_UNREACHABLE');
  t.is((await link.control.ended)?.reason, 'FRAME_UNEXPECTED');
});
