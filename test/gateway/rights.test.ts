import test from 'ava';
import { connect } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { startFederation, type TestOrg, take } from '../support/federation.js';

const LIVE = { delivery: 'live' } as const;

/** Shared: what these tests do does not meet. */
let acme: TestOrg;
let globex: TestOrg;
const undo: (() => unknown)[] = [];

test.before(async () => {
  const scope = { teardown: (action: () => unknown) => void undo.push(action) };
  const orgs = await startFederation(scope, {
    ACME: { access: 'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"] }, { node: narrow }]' },
    GLOBEX: {
      access: `nodes: [{ node: narrow, publish: ["user"], subscribe: ["user"] }, { node: ears, subscribe: ["**"] }, { node: moment, subscribe: ["moment/*"] }, { node: short, subscribe: ["orders/*"] }]
peers: [{ org: ACME, publish: ["user", "moment/*", "orders/*"] }]`,
    },
  });
  acme = orgs.ACME;
  globex = orgs.GLOBEX;
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

const reasonOf = async (promise: Promise<unknown>): Promise<string | undefined> => {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return (error as FedgateError).reason;
  }
};

test('rights: what is granted for user opens neither users, users/x nor user/x, at both gateways', async t => {
  const narrow = await globex.node('narrow');
  const stranger = await acme.node('stranger');
  const ears = (await globex.node('ears')).subscribe('user');
  await ears.opened;
  for (const channel of ['users', 'users/x', 'user/x', 'use', 'User']) {
    t.is(await reasonOf(narrow.publish(channel, 'x', LIVE)), 'NOT_GRANTED', channel);
    t.is(await reasonOf(narrow.subscribe(channel).opened), 'NOT_GRANTED', channel);
    t.is(await reasonOf(stranger.publish(`pubsub://GLOBEX/${channel}`, 'x', LIVE)), 'NOT_GRANTED', channel);
  }
  t.is((await narrow.publish('user', 'own', LIVE)).subscribers, 1);
  t.is((await stranger.publish('pubsub://GLOBEX/user', 'other', LIVE)).subscribers, 1);
  t.deepEqual(
    (await take(ears, 2)).map(({ text }) => text),
    ['own', 'other'],
  );
});

test('rights: nobody subscribes in another organisation, by whatever pattern, nor publishes beyond it', async t => {
  const node = await acme.node('stranger');
  for (const pattern of ['pubsub://GLOBEX/user', 'pubsub://*/user', 'GLOBEX/user/../user', '$approvals', '$notices/**'])
    t.true(
      ['FIELD_INVALID', 'CHANNEL_RESERVED'].includes((await reasonOf(node.subscribe(pattern).opened)) ?? ''),
      pattern,
    );
  for (const address of [
    'pubsub://GLOBEX/pubsub://INITECH/x',
    'pubsub://GLOBEX/INITECH!x',
    'pubsub://GLOBEX/$approvals',
  ])
    t.true(
      ['FIELD_INVALID', 'CHANNEL_RESERVED'].includes((await reasonOf(node.publish(address, 'x', LIVE))) ?? ''),
      address,
    );
});

test('rights: a subscription made in the very moment of connecting is heard of by whoever publishes next, 32 times of 32', async t => {
  const publisher = await acme.node('publisher');
  const context = await globex.context('moment');
  await publisher.publish('pubsub://GLOBEX/moment/0', 'opens the link', LIVE);
  for (let i = 1; i <= 32; i++) {
    const channel = `moment/${i}`;
    // Before, while and after the connection is made.
    const client = await connect({ context });
    const turns = i % 8;
    const connected = client.publish('user', 'x', LIVE).catch(() => undefined);
    for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve));
    const subscription = client.subscribe(channel);
    await subscription.opened;
    t.is((await publisher.publish(`pubsub://GLOBEX/${channel}`, `${i}`, LIVE)).subscribers, 1, channel);
    t.deepEqual(
      (await take(subscription, 1)).map(({ text }) => text),
      [`${i}`],
    );
    await connected;
    client.close();
  }
});

test.serial(
  'rights: one that is withdrawn ends the live stream that had it; a lost link, its end and its return are told',
  async t => {
    const subscription = (await globex.node('short')).subscribe('orders/*');
    await subscription.opened;
    const publisher = await acme.node('publisher');
    t.is((await publisher.publish('pubsub://GLOBEX/orders/a', 'before', LIVE)).subscribers, 1);
    const ended = reasonOf(take(subscription, 2));
    acme.events.length = 0;
    await globex.stop();
    const rule = globex.config.access.nodes.find(({ node }) => node === 'short');
    (rule?.subscribe as unknown[] | undefined)?.splice(0);
    await acme.logged(({ msg, state, err }) => msg === 'link' && state === 'backoff' && err?.reason !== undefined);
    t.is(await reasonOf(publisher.publish('pubsub://GLOBEX/orders/a', 'meanwhile', LIVE)), 'PEER_UNREACHABLE');
    await globex.start();
    t.is(await ended, 'NOT_GRANTED');
    await acme.logged(({ msg, state }) => msg === 'link' && state === 'up');
    t.is((await publisher.publish('pubsub://GLOBEX/orders/a', 'after', LIVE)).subscribers, 0);
  },
);
