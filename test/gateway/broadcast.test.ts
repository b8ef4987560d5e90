import test from 'ava';
import { MessagingServiceService, type PublishRequest } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import type { FedgateClient, PublishReport } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { callUnary } from '../../src/transport/client-calls.js';
import { fedgate } from '../support/cli.js';
import { allMet, startFederation, startTestOrg, take } from '../support/federation.js';
import { LIVE } from '../support/live.js';

const ANYWHERE = 'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"] }]';
const TAKES = 'nodes: [{ node: "*", subscribe: ["**"] }]\npeers: [{ org: ACME, publish: ["**"] }]';
const GROUPS = 'groups: { partners: [GLOBEX, INITECH], all: [ACME, GLOBEX, INITECH, NOBODY] }';
const THREE = { ACME: { access: ANYWHERE, extra: GROUPS }, GLOBEX: { access: TAKES }, INITECH: { access: TAKES } };

/** What became of a publish for each organisation, in few words. */
const fates = ({ orgs = [] }: PublishReport): Record<string, unknown> =>
  Object.fromEntries(
    orgs.map(({ org, report, error }) => [org, error ? error.reason : (report.level ?? report.subscribers)]),
  );

const texts = async (source: AsyncIterable<{ readonly text: string }>, count: number): Promise<string[]> =>
  (await take(source, count)).map(({ text }) => text);

function publish(client: FedgateClient, request: Partial<PublishRequest>) {
  const payload = Buffer.from('x');
  const record = { id: '', key: Buffer.alloc(0), timeMs: 0n, contentType: '', headers: new Map(), payload };
  const terms = { patienceMs: 0, delivery: 0 as const, ack: 0 as const, ackTimeoutMs: 0, ttlMs: 0n };
  const repeat = { dedupeId: '', producerId: '', producerEpoch: 0n, producerSequence: 0n };
  const whole = { address: 'pubsub://*/news', ...terms, ...repeat, records: [record], ...request };
  return callUnary(client.channel, MessagingServiceService.publish, whole, { timeoutMs: 10_000 });
}

test('broadcast: * is every other active member, and each answers for itself', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, THREE);
  const a = await ACME.node('a');
  const heard = await Promise.all([ACME, GLOBEX, INITECH].map(async org => (await org.node('ear')).subscribe('news')));
  await Promise.all(heard.map(({ opened }) => opened));
  const report = await a.publish('pubsub://*/news', 'one', LIVE);
  t.like(report, { side: 'remote', org: '', subscribers: 2, dropped: 0 });
  t.deepEqual(fates(report), { GLOBEX: 1, INITECH: 1 });
  const [own, globex, initech] = heard;
  await a.publish('news', 'own');
  for (const [subscription, text] of [
    [globex, 'one'],
    [initech, 'one'],
    [own, 'own'],
  ] as const) {
    if (subscription) t.deepEqual(await texts(subscription, 1), [text]);
  }
});

test('broadcast: a group is whom the configuration names, the own organisation too if it does', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, THREE);
  const a = await ACME.node('a');
  const own = a.subscribe('news');
  const globex = (await GLOBEX.node('ear')).subscribe('news');
  const initech = (await INITECH.node('ear')).subscribe('news');
  await Promise.all([own, globex, initech].map(({ opened }) => opened));
  t.deepEqual(fates(await a.publish('pubsub://@partners/news', 'some', LIVE)), { GLOBEX: 1, INITECH: 1 });
  const all = await a.publish('pubsub://@all/news', 'all', LIVE);
  t.deepEqual(fates(all), { ACME: 1, GLOBEX: 1, INITECH: 1, NOBODY: 'ORG_UNKNOWN' });
  t.is(all.subscribers, 3);
  // The own part is live, and does not hide the level of the others.
  const kept = await a.publish('pubsub://@all/news', 'kept', { ack: 'received' });
  t.is(kept.level, 'received');
  t.deepEqual(fates(kept), { ACME: 1, GLOBEX: 'received', INITECH: 'received', NOBODY: 'ORG_UNKNOWN' });
  t.deepEqual(await texts(globex, 2), ['some', 'all']);
  t.deepEqual(await texts(own, 1), ['all']);
  const unknown = await t.throwsAsync<FedgateError>(a.publish('pubsub://@nobody/news', 'x'));
  t.is(unknown?.reason, 'GROUP_UNKNOWN');
  const wrong = await t.throwsAsync<FedgateError>(a.publish('pubsub://@No!/news', 'x'));
  t.is(wrong?.reason, 'FIELD_INVALID');
});

test('broadcast: each organisation needs its grant on both sides; what one refuses is its entry', async t => {
  const { ACME, GLOBEX, INITECH, HOOLI } = await startFederation(t, {
    ACME: {
      access:
        'nodes: [{ node: some, publish: ["pubsub://GLOBEX/**", "pubsub://INITECH/**"] }, { node: all, publish: ["pubsub://*/**"] }]',
      extra: 'groups: { partners: [ACME, GLOBEX, INITECH, HOOLI] }',
    },
    GLOBEX: { access: TAKES },
    INITECH: { access: 'nodes: []' },
    HOOLI: { access: TAKES },
  });
  t.truthy(GLOBEX && INITECH && HOOLI);
  const some = await ACME.node('some');
  const expected = { GLOBEX: 0, HOOLI: 'NOT_GRANTED', INITECH: 'NOT_GRANTED' };
  t.deepEqual(fates(await some.publish('pubsub://*/news', 'x', LIVE)), expected);
  t.deepEqual(fates(await some.publish('pubsub://@partners/news', 'x', LIVE)), { ACME: 'NOT_GRANTED', ...expected });
  const stored = await some.publish('pubsub://*/news', 'x', { ack: 'received' });
  t.deepEqual(fates(stored), { ...expected, GLOBEX: 'received' });
  t.is(stored.level, 'received');
  const all = await ACME.node('all');
  t.deepEqual(fates(await all.publish('pubsub://*/news', 'x', LIVE)), { ...expected, HOOLI: 0 });
  const none = await ACME.node('none');
  for (const address of ['pubsub://*/news', 'pubsub://@partners/news'])
    t.is((await t.throwsAsync<FedgateError>(none.publish(address, 'x')))?.reason, 'NOT_GRANTED');
  for (const options of [{ ttlMs: 2 ** 40 }, { patienceMs: 2 ** 30 }])
    t.is((await t.throwsAsync<FedgateError>(all.publish('pubsub://*/news', 'x', options)))?.reason, 'FIELD_INVALID');
  // Inboxes are granted by name or as @* here too.
  t.is((await t.throwsAsync<FedgateError>(all.publish('pubsub://*/@erp', 'x')))?.reason, 'NOT_GRANTED');
});

test('broadcast: one that is away keeps nobody from the others, and gets what is stored when it is back', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, THREE);
  const a = await ACME.node('a');
  t.deepEqual(fates(await a.publish('pubsub://*/news', 'first', { ack: 'received' })), {
    GLOBEX: 'received',
    INITECH: 'received',
  });
  await INITECH.stop();
  await ACME.logged(event => event.msg === 'link' && event.org === 'INITECH' && event.state !== 'up');
  const live = await a.publish('pubsub://*/news', 'live', LIVE);
  t.is(fates(live).GLOBEX, 0);
  t.is(live.orgs?.[1]?.error?.reason, 'PEER_UNREACHABLE');
  const late = await a.publish('pubsub://*/news', 'second', { ack: 'received', ackTimeoutMs: 1_500 });
  t.deepEqual(fates(late), { GLOBEX: 'received', INITECH: 'ACK_TIMEOUT' });
  t.is(late.orgs?.[1]?.error?.metadata.level, 'stored');
  await INITECH.start();
  const back = (await INITECH.node('ear')).subscribe('news', { durable: 'ear', from: 'earliest' });
  t.deepEqual(await texts(back, 2), ['first', 'second']);
  const there = (await GLOBEX.node('ear')).subscribe('news', { durable: 'ear', from: 'earliest' });
  t.deepEqual(await texts(there, 2), ['first', 'second']);
});

test('broadcast: the level consumed is reached for each by its own durable subscription', async t => {
  const { ACME, GLOBEX } = await startFederation(t, THREE);
  const a = await ACME.node('a');
  const ear = (await GLOBEX.node('ear')).subscribe('news', { durable: 'ear' });
  await ear.opened;
  const report = a.publish('pubsub://*/news', 'x', { ack: 'consumed', ackTimeoutMs: 3_000 });
  for await (const message of ear) {
    await message.ack();
    break;
  }
  t.deepEqual(fates(await report), { GLOBEX: 'consumed', INITECH: 'ACK_TIMEOUT' });
});

test('broadcast: repeated under its id or number it is stored where it is missing, and nowhere twice', async t => {
  const { registry, ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: ANYWHERE },
    GLOBEX: { access: TAKES },
  });
  const a = await ACME.node('a');
  const number = (producerSequence: bigint) => ({ producerId: 'p', producerEpoch: 1n, producerSequence });
  const repeats: Partial<PublishRequest>[] = [{ dedupeId: 'one' }, number(1n), number(7n)];
  const duplicates = async (request: Partial<PublishRequest>): Promise<Record<string, unknown>> => {
    const { result } = await publish(a, request);
    const entries = (result?.orgs ?? []).map(({ org, outcome }) => [
      org,
      outcome?.$case === 'result' ? outcome.value.duplicate : outcome,
    ]);
    return { all: result?.duplicate, ...Object.fromEntries(entries) };
  };
  for (const request of repeats) t.deepEqual(await duplicates(request), { all: false, GLOBEX: false });
  for (const request of repeats) t.deepEqual(await duplicates(request), { all: true, GLOBEX: true });
  const INITECH = await startTestOrg(t, registry, 'INITECH', { access: TAKES });
  await allMet(registry, ACME, GLOBEX, INITECH);
  for (const request of repeats) t.deepEqual(await duplicates(request), { all: false, GLOBEX: true, INITECH: false });
  for (const request of repeats) t.deepEqual(await duplicates(request), { all: true, GLOBEX: true, INITECH: true });
  // The address of one organisation has numbers of its own.
  const one = await publish(a, { address: 'pubsub://GLOBEX/news', ...number(1n) });
  t.is(one.result?.duplicate, false);
  const [globex, initech] = await Promise.all([GLOBEX, INITECH].map(org => org.node('ear')));
  const ears = [globex, initech].map(ear => ear?.subscribe('news', { durable: 'ear', from: 'earliest' }));
  await a.publish('pubsub://*/news', 'end', { ack: 'received' });
  t.deepEqual(ears[0] && (await texts(ears[0], 5)), ['x', 'x', 'x', 'x', 'end']);
  t.deepEqual(ears[1] && (await texts(ears[1], 4)), ['x', 'x', 'x', 'end']);
});

test('broadcast: what the SDK sends again after its gateway restarted arrives at each once and in order', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, THREE);
  const a = await ACME.node('a');
  const count = 3_000;
  let restarted: Promise<void> | undefined;
  async function* records() {
    for (let i = 0; i < count; i++) {
      if (i === count / 3) restarted = ACME.stop().then(() => ACME.start());
      if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve));
      yield { payload: String(i) };
    }
  }
  const summary = await a.publishAll('pubsub://*/news', records());
  await restarted;
  t.like(summary, { records: count, partial: 0 });
  const expected = Array.from({ length: count }, (_, i) => String(i));
  for (const org of [GLOBEX, INITECH]) {
    const ear = (await org.node('ear')).subscribe('news', { durable: 'ear', from: 'earliest' });
    t.deepEqual(await texts(ear, count), expected);
  }
});

test('broadcast: fedgate pub prints a line for each organisation, and ends with the code of the worst', async t => {
  const { ACME, GLOBEX, INITECH } = await startFederation(t, {
    ACME: {
      access: 'nodes: [{ node: all, publish: ["pubsub://*/**"] }, { node: some, publish: ["pubsub://GLOBEX/**"] }]',
      extra: GROUPS,
    },
    GLOBEX: { access: TAKES },
    INITECH: { access: TAKES },
  });
  t.truthy(INITECH);
  const [all, some] = [await ACME.context('all'), await ACME.context('some')];
  const taken = await fedgate(['pub', 'pubsub://*/news', 'x', '--ack', 'received', '--context', all]);
  t.is(taken.code, 0);
  t.regex(taken.stdout, /ORGANISATION +OUTCOME\nGLOBEX +GLOBEX has it on stable storage\nINITECH +INITECH has it/);
  const partly = await fedgate(['pub', 'pubsub://@partners/news', 'x', '--json', '--context', some]);
  t.is(partly.code, 4);
  const { records, orgs } = JSON.parse(partly.stdout);
  t.is(records, 1);
  t.like(orgs[0], { org: 'GLOBEX', level: 'received' });
  t.like(orgs[1], { org: 'INITECH', error: { reason: 'NOT_GRANTED' } });
  const nobody = await fedgate(['pub', 'pubsub://*/news', 'x', '--live', '--context', all]);
  t.is(nobody.code, 5);
  const lines = await fedgate(['pub', 'pubsub://@partners/news', '--lines', '--context', some], { stdin: 'a\nb\n' });
  t.is(lines.code, 4);
  t.regex(
    lines.stdout,
    /published 2 lines, 2 bytes; 2 were not taken by every organisation; every other organisation has all/,
  );
  const ear = (await GLOBEX.node('ear')).subscribe('news', { durable: 'ear', from: 'earliest' });
  t.deepEqual(await texts(ear, 4), ['x', 'x', 'a', 'b']);
});
