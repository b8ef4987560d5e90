import { setTimeout } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { connect } from '../../src/client/index.js';
import { addNode } from '../../src/gateway/add-node.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { startFederation, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';

/** A client whose connections to the gateway of ACME can be counted and cut. */
async function scene(t: ExecutionContext) {
  const { ACME } = await startFederation(t, { ACME: {} });
  const wire = await FaultyWire.open(t, ACME.gateway.nodeAddress, seededRandom(1));
  const context = await addNode({ folder: ACME.folder, name: 'node', gateway: 'gw1', address: wire.address });
  const client = await connect({ context });
  t.teardown(() => client.close());
  return { ACME, client, wire };
}

test('connections: what a client publishes has one, and what it receives has another', async t => {
  const { client, wire } = await scene(t);
  t.is(wire.connections, 1);
  await client.publish('x', 'a', LIVE);
  await client.durable.listSubscriptions();
  t.is(wire.connections, 1, 'one is enough for who only publishes');
  await client.subscribe('x').opened;
  t.is(wire.connections, 2);
  await client.subscribe('y', { durable: 'd' }).opened;
  await client.publish('x', 'b', { delivery: 'durable' });
  t.is(wire.connections, 2);
  client.close();
  while (wire.connections > 0) await setTimeout(5);
  t.is(wire.taken, 2);
});

test('connections: who only receives has one', async t => {
  const { client, wire } = await scene(t);
  await client.subscribe('x').opened;
  await client.subscribe('y', { durable: 'd' }).opened;
  t.is(wire.taken, 1);
});

test('connections: both come back when they break, and the program hears of it once', async t => {
  const { client, wire } = await scene(t);
  const subscription = client.subscribe('x');
  await subscription.opened;
  await client.publish('x', 'before', LIVE);
  const heard: string[] = [];
  client.on('disconnected', () => heard.push('disconnected'));
  client.on('connected', () => heard.push('connected'));
  const back = new Promise<void>(resolve => client.once('connected', resolve));
  wire.cut();
  await setTimeout(200);
  wire.heal();
  await back;
  let publishing = true;
  const publish = async (): Promise<void> => {
    while (publishing) {
      await client.publish('x', 'after', LIVE);
      await setTimeout(20);
    }
  };
  const published = publish();
  const texts = (await take(subscription, 2)).map(({ text }) => text);
  publishing = false;
  await published;
  t.deepEqual(texts, ['before', 'after']);
  t.deepEqual(heard, ['disconnected', 'connected']);
});

test('connections: a client that is closed makes no further one', async t => {
  const { client, wire } = await scene(t);
  await client.publish('x', 'a', LIVE);
  client.close();
  t.throws(() => client.subscribe('x'));
  t.is(wire.taken, 1);
});
