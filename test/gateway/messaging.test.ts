import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { startFederation, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';

const ACCEPT =
  'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], status: true }]\npeers: [{ org: ACME, publish: ["orders/*"] }]';

test('publish: a record crosses to another organisation with its sender as verified', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: { access: ACCEPT } });
  const billing = await ACME.node('billing');
  const erp = await GLOBEX.node('erp');
  const subscription = erp.subscribe('orders/*');
  await subscription.opened;
  const report = await billing.publish(
    'pubsub://GLOBEX/orders/created',
    {
      payload: 'hello',
      headers: { a: 'b' },
      contentType: 'text/plain',
      id: '7',
      key: 'k',
    },
    LIVE,
  );
  t.like(report, { side: 'remote', org: 'GLOBEX', subscribers: 1, dropped: 0 });
  const [message] = await take(subscription, 1);
  t.is(message?.text, 'hello');
  t.is(message?.channel, 'orders/created');
  t.is(message?.senderOrg, 'ACME');
  t.is(message?.senderNode, 'billing');
  t.deepEqual([...(message?.headers ?? [])], [['a', 'b']]);
  t.is(message?.id, '7');
});

test('publish: within the own organisation, to nobody, and to a channel that is not granted', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: { access: ACCEPT } });
  const a = await ACME.node('a');
  const heard = a.subscribe('x/**');
  await heard.opened;
  t.like(await a.publish('x/y/z', 'one'), { side: 'local', subscribers: 1 });
  t.like(await a.publish('y', 'one'), { side: 'local', subscribers: 0 });
  t.like(await a.publish('pubsub://GLOBEX/orders/none', 'one', LIVE), { side: 'remote', subscribers: 0 });
  const refused = await t.throwsAsync<FedgateError>(a.publish('pubsub://GLOBEX/secret', 'x', LIVE));
  t.is(refused?.reason, 'NOT_GRANTED');
  const unknown = await t.throwsAsync<FedgateError>(a.publish('pubsub://NOBODY/x', 'x', LIVE));
  t.is(unknown?.reason, 'ORG_UNKNOWN');
  await GLOBEX.logged(event => event.security === true && event.err?.reason === 'NOT_GRANTED');
  t.is((await take(heard, 1))[0]?.text, 'one');
});

test('publish: order holds over 20,000 records', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: {}, GLOBEX: { access: ACCEPT } });
  const a = await ACME.node('a');
  const subscription = (await GLOBEX.node('b')).subscribe('orders/*');
  await subscription.opened;
  const received = take(subscription, 20_000);
  const records = Array.from({ length: 20_000 }, (_, i) => ({ payload: String(i) }));
  const summary = await a.publishAll('pubsub://GLOBEX/orders/n', records, { ...LIVE, patienceMs: 10_000 });
  t.like(summary, { records: 20_000, dropped: 0, unheard: 0 });
  t.deepEqual(
    (await received).map(message => message.text),
    records.map(record => record.payload),
  );
});
