import test from 'ava';
import { MessagingServiceService } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateError } from '../../src/errors.js';
import { parseConfig } from '../../src/gateway/config.js';
import { callServerStream, callUnary } from '../../src/transport/client-calls.js';
import { fedgate } from '../support/cli.js';
import { startFederation, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';

/** Resolves when a check holds; connections end when both sides have noticed. */
async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise(resolve => setImmediate(resolve));
}

const never = new AbortController().signal;
const pullOf = (name: string, pattern: string) => ({
  subscription: { name, pattern, from: undefined, group: false, ackWaitMs: 0, maxDeliveries: 0 },
  maxRecords: 1,
  waitMs: 0,
});

const ASKS =
  'nodes: [{ node: "*", publish: ["**", "@*", "pubsub://*/**", "pubsub://*/@*"], subscribe: ["**"], admin: true }]';
const shows = (nodes: string): string =>
  `nodes: [{ node: "*", publish: ["**"], subscribe: ["**"] }]\npeers: [{ org: ACME, publish: ["**", "@*"], nodes: [${nodes}] }]`;

test('direct: a live message reaches the node that it is for, and nobody else, with its sender as verified', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ASKS }, GLOBEX: { access: shows('"*"') } });
  const billing = await ACME.node('billing');
  const [erp, spy] = [await GLOBEX.node('erp'), await GLOBEX.node('spy')];
  const [inbox, everything] = [erp.subscribe(erp.inbox), spy.subscribe('**')];
  await Promise.all([inbox.opened, everything.opened]);
  const report = await billing.publish('pubsub://GLOBEX/@erp', 'for you', LIVE);
  t.like(report, { side: 'remote', org: 'GLOBEX', subscribers: 1, dropped: 0, inbox: 'open' });
  await billing.publish('pubsub://GLOBEX/all', 'for all', LIVE);
  const [message] = await take(inbox, 1);
  t.like(message, { text: 'for you', channel: '@erp', senderOrg: 'ACME', senderNode: 'billing' });
  t.is((await take(everything, 1))[0]?.text, 'for all');
});

test('direct: the answer says that the node is away, and the same nothing of one that is hidden as of one that is not', async t => {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: ASKS },
    GLOBEX: { access: shows('erp') },
  });
  const billing = await ACME.node('billing');
  const hidden = await GLOBEX.node('hidden');
  const inbox = hidden.subscribe(hidden.inbox);
  const erp = await GLOBEX.node('erp');
  const own = erp.subscribe(erp.inbox);
  await Promise.all([inbox.opened, own.opened]);
  t.is((await billing.publish('pubsub://GLOBEX/@erp', 'x', LIVE)).inbox, 'open');
  own.close();
  const state = async (): Promise<unknown> => (await billing.publish('pubsub://GLOBEX/@erp', 'x', LIVE)).inbox;
  await until(async () => (await state()) === 'closed');
  erp.close();
  await until(async () => (await state()) === 'away');
  const [there, ghost] = [
    await billing.publish('pubsub://GLOBEX/@hidden', 'x', { ...LIVE, patienceMs: 1_000 }),
    await billing.publish('pubsub://GLOBEX/@ghost', 'x', { ...LIVE, patienceMs: 1_000 }),
  ];
  t.deepEqual(there, ghost);
  t.like(there, { inbox: 'untold', subscribers: 0, dropped: 0 });
  t.is((await take(inbox, 1))[0]?.text, 'x');
});

test('direct: no grant for channels opens an inbox, at neither gateway', async t => {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: {
      access:
        'nodes: [{ node: open, publish: ["**", "@*", "pubsub://*/**", "pubsub://GLOBEX/@*"] }, { node: "*", publish: ["**", "pubsub://*/**"] }]',
    },
    GLOBEX: { access: 'nodes: []\npeers: [{ org: "*", publish: ["**", "*", "@other"], nodes: ["*"] }]' },
  });
  const plain = await ACME.node('plain');
  for (const address of ['pubsub://GLOBEX/@erp', '@erp']) {
    for (const options of [LIVE, {}]) {
      const refused = await t.throwsAsync<FedgateError>(plain.publish(address, 'x', options));
      t.is(refused?.reason, 'NOT_GRANTED');
      t.is(refused?.metadata.grant, 'access.nodes[].publish');
    }
  }
  const open = await ACME.node('open');
  const there = await t.throwsAsync<FedgateError>(open.publish('pubsub://GLOBEX/@erp', 'x', LIVE));
  t.is(there?.reason, 'NOT_GRANTED');
  const stored = await t.throwsAsync<FedgateError>(open.publish('pubsub://GLOBEX/@erp', 'x', { ack: 'received' }));
  t.is(stored?.reason, 'NOT_GRANTED');
  t.is((await open.publish('pubsub://GLOBEX/@other', 'x', LIVE)).subscribers, 0);
  await GLOBEX.logged(event => event.security === true && event.err?.reason === 'NOT_GRANTED');
});

test('direct: a node reads its own inbox without a grant and no other, live or durable, by pattern or by name', async t => {
  const { GLOBEX } = await startFederation(t, {
    GLOBEX: { access: 'nodes: [{ node: "*", subscribe: ["**"] }, { node: boss, admin: true }]' },
  });
  const erp = await GLOBEX.node('erp');
  const spy = await GLOBEX.node('spy');
  const inbox = erp.subscribe('@erp', { durable: 'post' });
  await inbox.opened;
  const attempts = [
    spy.subscribe('@erp').opened,
    spy.subscribe('@erp', { durable: 'mine' }).opened,
    spy.subscribe('@erp', { durable: 'post' }).opened,
    callServerStream(spy.channel, MessagingServiceService.pull, pullOf('post', ''), never).next(),
    callServerStream(spy.channel, MessagingServiceService.pull, pullOf('other', '@erp'), never).next(),
    callUnary(
      spy.channel,
      MessagingServiceService.acknowledge,
      { subscription: 'post', ack: [{ first: 1n, last: 9n }], nack: undefined },
      { timeoutMs: 5_000 },
    ),
    spy.durable.getSubscription('post'),
    spy.durable.seekSubscription('post', 'earliest'),
    spy.durable.deleteSubscription('post'),
  ];
  for (const attempt of attempts) t.is((await t.throwsAsync<FedgateError>(attempt))?.reason, 'NOT_GRANTED');
  t.is((await t.throwsAsync<FedgateError>(spy.subscribe('@*').opened))?.reason, 'FIELD_INVALID');
  t.deepEqual(await spy.durable.listSubscriptions(), []);
  const boss = await GLOBEX.node('boss');
  t.is((await boss.durable.listSubscriptions())[0]?.spec?.name, 'post');
  t.is((await t.throwsAsync<FedgateError>(boss.durable.seekSubscription('post', 'earliest')))?.reason, 'NOT_GRANTED');
  await inbox.drain();
  await boss.durable.deleteSubscription('post');
  t.deepEqual(await boss.durable.listSubscriptions(), []);
});

test('direct: the configuration grants writing to inboxes by name or as @*, and reading to nobody', t => {
  const parse = (access: string) =>
    parseConfig(`listen: { nodes: "127.0.0.1:0", peers: "127.0.0.1:0" }\n${access}`, 'gateway.yaml');
  for (const grant of ['@erp', '@*', 'pubsub://GLOBEX/@erp', 'pubsub://*/@*'])
    t.notThrows(() => parse(`access: { nodes: [{ node: a, publish: ["${grant}"] }] }`), grant);
  t.notThrows(() => parse('access: { peers: [{ org: ACME, publish: ["@erp", "@*"], nodes: ["erp", "*"] }] }'));
  t.notThrows(() => parse('durable: { retention: [{ pattern: "@*" }, { pattern: "@erp" }] }'));
  for (const pattern of ['@erp', '@*'])
    t.throws(() => parse(`access: { nodes: [{ node: a, subscribe: ["${pattern}"] }] }`), {
      message: /gateway.yaml:2:\d+ access.nodes\[0\].subscribe\[0\]: an inbox needs no grant/,
    });
  for (const grant of ['@Erp', '@erp/x', 'x/@erp', '@**', 'pubsub://@group/x'])
    t.throws(() => parse(`access: { nodes: [{ node: a, publish: ["${grant}"] }] }`), undefined, grant);
});

test('direct: what is stored for a node waits in its inbox across an outage, also before it ever read it', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ASKS }, GLOBEX: { access: shows('') } });
  const billing = await ACME.node('billing');
  t.is((await billing.publish('pubsub://GLOBEX/@erp', 'one', { ack: 'received' })).level, 'received');
  await GLOBEX.stop();
  t.is((await billing.publish('pubsub://GLOBEX/@erp', 'two')).level, 'stored');
  await GLOBEX.start();
  const erp = await GLOBEX.node('erp');
  const spy = (await GLOBEX.node('spy')).subscribe('**', { durable: 'spy', from: 'earliest' });
  await spy.opened;
  const inbox = erp.subscribe(erp.inbox, { durable: 'post', from: 'earliest' });
  const consumed = billing.publish('pubsub://GLOBEX/@erp', 'three', { ack: 'consumed' });
  const texts: string[] = [];
  for await (const message of inbox) {
    texts.push(message.text);
    await message.ack();
    if (texts.length === 3) break;
  }
  t.deepEqual(texts, ['one', 'two', 'three']);
  t.is((await consumed).level, 'consumed');
  t.is((await erp.durable.getSubscription('post')).backlogRecords, 0n);
  await billing.publish('pubsub://GLOBEX/all', 'for all', { ack: 'received' });
  t.is((await take(spy, 1))[0]?.text, 'for all');
});

test('direct: within the own organisation the answer says whether the node is there, stored or live', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ASKS } });
  const a = await ACME.node('a');
  t.like(await a.publish('@b', 'x'), { side: 'local', subscribers: 0, inbox: 'untold' });
  const b = await ACME.node('b');
  t.like(await a.publish('@b', 'x'), { side: 'local', subscribers: 0, inbox: 'closed' });
  const inbox = b.subscribe('@b');
  await inbox.opened;
  t.like(await a.publish('@b', 'x'), { side: 'local', subscribers: 1, inbox: 'open' });
  t.like(await a.publish('@b', 'x', { delivery: 'durable' }), { level: 'stored', inbox: 'open' });
  t.deepEqual(
    (await take(inbox, 2)).map(message => message.text),
    ['x', 'x'],
  );
});

test('direct: fedgate pub and sub --inbox', async t => {
  const { ACME, GLOBEX } = await startFederation(t, { ACME: { access: ASKS }, GLOBEX: { access: shows('erp') } });
  const billing = await ACME.context('billing');
  const erp = await GLOBEX.context('erp');
  const pub = (...rest: string[]) => fedgate(['pub', ...rest, '--context', billing]);
  (await GLOBEX.node('erp')).close();
  await until(async () => (await pub('pubsub://GLOBEX/@erp', 'hi', '--live')).code === 5);
  const away = await pub('pubsub://GLOBEX/@erp', 'hi', '--live');
  t.is(away.code, 5);
  t.regex(away.stdout, /the record went nowhere/);
  const untold = await pub('pubsub://GLOBEX/@other', 'hi', '--live');
  t.is(untold.code, 0);
  t.regex(untold.stdout, /does not tell whether the node is there/);
  const stored = await pub('pubsub://GLOBEX/@erp', 'hello', '--ack', 'received', '--json');
  t.like(JSON.parse(stored.stdout), { org: 'GLOBEX', level: 'received' });
  const read = ['sub', '--inbox', '--durable', 'post', '--from', 'earliest', '--count', '1', '--raw', '--context', erp];
  const sub = await fedgate(read);
  t.is(sub.stdout, 'hello\n');
  t.is((await fedgate(['sub', '--context', erp])).code, 2);
  t.is((await fedgate(['sub', '@erp', '--inbox', '--context', erp])).code, 2);
});
