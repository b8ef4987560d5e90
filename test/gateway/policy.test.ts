import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FedgateClient } from '../../src/client/index.js';
import { FedgateError } from '../../src/errors.js';
import { startFederation, type TestOrg, take } from '../support/federation.js';
import { ACTION, startPolicy, type TestPolicy } from '../support/policy-server.js';
import { temporaryFolder } from '../support/registry.js';

const ALL = (other: string): string => `nodes:
  - node: "*"
    publish: ["**", "@*", "pubsub://*/**"]
    subscribe: ["**"]
    request: ["**", "pubsub://*/**"]
    respond: ["**"]
    openStreams: ["**", "pubsub://*/**"]
    acceptStreams: ["**"]
    share: ["*"]
    fetch: ["*"]
peers: [{ org: ${other}, publish: ["**"], request: ["**"], streams: ["**"] }]
topics: [{ topic: "**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: ["*"], relay: true }]`;

/** What the gateways wait for a policy: in one test for nothing, in all others more than a busy machine takes to answer. */
const PATIENCE_MS = 4_000;

interface World {
  readonly ACME: TestOrg;
  readonly GLOBEX: TestOrg;
  readonly acme: TestPolicy;
  readonly globex: TestPolicy;
  readonly billing: FedgateClient;
  readonly erp: FedgateClient;
}

const undos: (() => unknown)[] = [];
const scope = { teardown: (undo: () => unknown) => void undos.unshift(undo) };
let world: World;

test.before(async () => {
  const folder = await temporaryFolder(scope);
  const policies = { ACME: await startPolicy(scope), GLOBEX: await startPolicy(scope) };
  const extra = async (org: 'ACME' | 'GLOBEX'): Promise<string> => {
    const { address, serverName, ca } = policies[org];
    const file = join(folder, `${org}.crt`);
    await writeFile(file, ca);
    return `policy: { address: "${address}", serverName: ${serverName}, ca: ${file}, timeoutMs: ${PATIENCE_MS} }`;
  };
  const orgs = await startFederation(scope, {
    ACME: { access: ALL('GLOBEX'), extra: await extra('ACME') },
    GLOBEX: { access: ALL('ACME'), extra: await extra('GLOBEX') },
  });
  world = {
    ...orgs,
    acme: policies.ACME,
    globex: policies.GLOBEX,
    billing: await clientOf(orgs.ACME, 'billing'),
    erp: await clientOf(orgs.GLOBEX, 'erp'),
  };
});
test.beforeEach(() => {
  for (const policy of [world.acme, world.globex]) {
    policy.asked.length = 0;
    policy.decide = () => ({ allowed: true });
  }
});
test.after.always(async () => {
  for (const undo of undos) await undo();
});

async function clientOf(org: TestOrg, name: string): Promise<FedgateClient> {
  const client = await org.node(name);
  scope.teardown(() => client.close());
  return client;
}

const reasonOf = async (t: ExecutionContext, work: Promise<unknown>): Promise<string | undefined> =>
  (await t.throwsAsync<FedgateError>(work))?.reason;

test.serial('policy: a publish is refused by the policy of its own gateway, and nothing of it leaves', async t => {
  const { acme, globex, billing } = world;
  acme.decide = ({ target }) => ({ allowed: target !== 'secret/plans', reason: 'plans stay here' });
  const error = await t.throwsAsync<FedgateError>(billing.publish('pubsub://GLOBEX/secret/plans', 'x'));
  t.is(error?.reason, 'POLICY_DENIED');
  t.like(error?.metadata, { org: 'ACME', action: 'publish', explanation: 'plans stay here' });
  t.is(globex.asked.length, 0);
  t.like(acme.asked[0], {
    federation: 'fed.example',
    org: 'ACME',
    gateway: 'gw1',
    action: ACTION.publish,
    targetOrg: 'GLOBEX',
    target: 'secret/plans',
    records: 1,
  });
  t.deepEqual(acme.asked[0]?.subject, { org: 'ACME', node: 'billing' });
  t.is((await billing.publish('pubsub://GLOBEX/open', 'x', { ack: 'received' })).level, 'received');
});

test.serial('policy: what comes from another organisation is refused by the policy there, live and stored', async t => {
  const { globex, billing } = world;
  globex.decide = ({ subject }) => ({ allowed: subject?.org !== 'ACME', reason: 'not from you' });
  const live = billing.publish('pubsub://GLOBEX/in/live', 'x', { delivery: 'live' });
  t.is(await reasonOf(t, live), 'POLICY_DENIED');
  const stored = billing.publish('pubsub://GLOBEX/in/stored', 'x', { ack: 'received' });
  t.is(await reasonOf(t, stored), 'POLICY_DENIED');
  t.deepEqual(
    globex.asked.map(({ action, target, targetOrg }) => [action, target, targetOrg]),
    [
      [ACTION.publish, 'in/live', 'GLOBEX'],
      [ACTION.publish, 'in/stored', 'GLOBEX'],
    ],
  );
});

test.serial(
  'policy: while it cannot be asked what comes in waits with its sender, and nothing is lost or reordered',
  async t => {
    const { globex, billing, erp } = world;
    // Nothing is acknowledged, and nothing is to come again for that.
    const subscription = erp.subscribe('queue/*', { durable: 'queue', ackWaitMs: 600_000 });
    await subscription.opened;
    globex.decide = () => ({ allowed: true, cacheMs: 1 });
    const sent = 40;
    const got = take(subscription, sent);
    for (let i = 0; i < sent; i++) {
      if (i === 10) globex.stop();
      await billing.publish('pubsub://GLOBEX/queue/x', `${i}`);
      if (i === 30) await globex.start();
    }
    t.deepEqual(
      (await got).map(({ text }) => Number(text)),
      Array.from({ length: sent }, (_, i) => i),
    );
  },
);

test.serial(
  'policy: a subscription that may not be delivered to is refused; one that no longer may ends; nothing stored is lost',
  async t => {
    const { globex, billing, erp } = world;
    globex.decide = ({ action }) => ({ allowed: action !== ACTION.deliver, reason: 'not for you' });
    t.is(await reasonOf(t, take(erp.subscribe('deliver/*'), 1)), 'POLICY_DENIED');
    t.is(await reasonOf(t, take(erp.subscribe('deliver/*', { durable: 'deliver' }), 1)), 'POLICY_DENIED');
    t.is(await reasonOf(t, erp.respond('deliver/*', () => 'x').opened), 'POLICY_DENIED');
    // What was refused made nothing, either.
    const names = globex.asked.filter(({ action }) => action === ACTION.deliver).map(({ target }) => target);
    t.deepEqual(names, ['deliver/*', 'deliver/*', 'deliver/*']);
    globex.decide = () => ({ allowed: true });
    const subscription = erp.subscribe('deliver/*', { durable: 'deliver' });
    await subscription.opened;
    const first = take(subscription, 1);
    await billing.publish('pubsub://GLOBEX/deliver/x', 'kept', { ack: 'received' });
    t.is((await first)[0]?.text, 'kept');
  },
);

test.serial('policy: an answer that ends is asked for again, and a no then ends the stream', async t => {
  const { globex, erp } = world;
  const open = erp.subscribe('ends/*');
  await open.opened;
  globex.decide = () => ({ allowed: false, reason: 'no more' });
  t.is(await reasonOf(t, take(open, 1)), 'POLICY_DENIED');
});

test.serial('policy: requests are asked about at both ends', async t => {
  const { acme, globex, billing, erp } = world;
  await erp.respond('quotes/*', () => 'fine').opened;
  t.is((await billing.request('pubsub://GLOBEX/quotes/steel', 'x')).text, 'fine');
  t.deepEqual(
    [acme, globex].map(({ asked }) => asked.filter(({ action }) => action === ACTION.request).length),
    [1, 1],
  );
  globex.decide = () => ({ allowed: false, reason: 'closed' });
  const there = await t.throwsAsync<FedgateError>(billing.request('pubsub://GLOBEX/quotes/steel', 'x'));
  t.like(there, { reason: 'POLICY_DENIED' });
  t.is(there?.metadata.org, 'GLOBEX');
  acme.decide = () => ({ allowed: false });
  const here = await t.throwsAsync<FedgateError>(billing.request('pubsub://GLOBEX/quotes/steel', 'x'));
  t.is(here?.metadata.org, 'ACME');
  const survey = async (): Promise<void> => {
    for await (const answer of billing.survey('pubsub://GLOBEX/quotes/steel', 'x')) t.fail(String(answer));
  };
  t.is(await reasonOf(t, survey()), 'POLICY_DENIED');
});

test.serial('policy: a fetch is asked about at both ends', async t => {
  const { acme, globex, billing, erp } = world;
  const folder = await temporaryFolder(t);
  const from = join(folder, 'a.txt');
  await writeFile(from, 'content');
  const share = await billing.share(from, { audience: { orgs: ['GLOBEX'] } });
  acme.decide = ({ action }) => ({ allowed: action !== ACTION.fetch, reason: 'kept here' });
  const held = await t.throwsAsync<FedgateError>(erp.fetch(share.id, { to: join(folder, 'b.txt') }));
  t.is(held?.reason, 'POLICY_DENIED');
  t.is(held?.metadata.org, 'ACME');
  acme.decide = () => ({ allowed: true });
  globex.decide = () => ({ allowed: false });
  t.is(await reasonOf(t, erp.fetch(share.id, { to: join(folder, 'b.txt') })), 'POLICY_DENIED');
  globex.decide = () => ({ allowed: true });
  await erp.fetch(share.id, { to: join(folder, 'b.txt') });
  t.is(await readFile(join(folder, 'b.txt'), 'utf8'), 'content');
  const last = acme.asked.at(-1);
  t.like(last, { action: ACTION.fetch, targetOrg: 'ACME', target: share.id });
  t.deepEqual(last?.subject, { org: 'GLOBEX', node: 'erp' });
});

test.serial(
  'policy: one that is slow, down or says odd things refuses with POLICY_UNAVAILABLE, and is asked again when it is back',
  async t => {
    const { acme, ACME, billing } = world;
    acme.decide = () => undefined;
    t.is(await reasonOf(t, billing.publish('slow', 'x')), 'POLICY_UNAVAILABLE');
    await ACME.logged(({ msg }) => msg === 'the policy server does not answer');
    acme.stop();
    t.is(await reasonOf(t, billing.publish('down', 'x')), 'POLICY_UNAVAILABLE');
    await acme.start();
    acme.decide = () => ({ allowed: true });
    for (;;) {
      const outcome = await billing.publish('down', 'x').catch(error => error as FedgateError);
      if (!(outcome instanceof FedgateError)) break;
      t.is(outcome.reason, 'POLICY_UNAVAILABLE');
      await new Promise(resolve => setTimeout(resolve, 50));
    }
    t.pass();
  },
);

test.serial('policy: publishes on one channel stay in order, whatever each answer takes', async t => {
  const { acme, billing } = world;
  const reader = billing.subscribe('order/*');
  await reader.opened;
  let n = 0;
  acme.decide = async () => {
    await new Promise(resolve => setTimeout(resolve, [30, 0, 10][n++ % 3]));
    return { allowed: true, cacheMs: n % 2 };
  };
  const got = take(reader, 12);
  const publishes: Promise<unknown>[] = [];
  for (let i = 0; i < 12; i++) {
    publishes.push(billing.publish('order/x', `${i}`));
    await new Promise(resolve => setTimeout(resolve, 3));
  }
  await Promise.all(publishes);
  t.deepEqual(
    (await got).map(({ text }) => Number(text)),
    Array.from({ length: 12 }, (_, i) => i),
  );
});

test.serial(
  'policy: byte streams are asked about as requests are, by both gateways; topics as channels are',
  async t => {
    const { acme, globex, billing, erp } = world;
    const accepting = erp.acceptStreams('pipes/*', stream => void stream.resume().end());
    await accepting.opened;
    const open = async (): Promise<unknown> => (await billing.openStream('pubsub://GLOBEX/pipes/a')).destroy();
    acme.decide = ({ action }) => ({ allowed: action !== ACTION.request });
    t.is(await reasonOf(t, open()), 'POLICY_DENIED');
    t.false(globex.asked.some(({ action }) => action === ACTION.request));
    acme.decide = () => ({ allowed: true });
    globex.decide = ({ action }) => ({ allowed: action !== ACTION.request });
    t.is(await reasonOf(t, open()), 'POLICY_DENIED');
    t.like(globex.asked.at(-1), {
      action: ACTION.request,
      target: 'pipes/a',
      subject: { org: 'ACME', node: 'billing' },
    });
    globex.decide = () => ({ allowed: true });
    await t.notThrowsAsync(open());
    accepting.close();
    acme.decide = ({ target }) => ({ allowed: target !== 'topic://secret' });
    t.is(await reasonOf(t, billing.topic('secret').publish('x')), 'POLICY_DENIED');
    await t.notThrowsAsync(billing.topic('open').publish('x'));
    const subscription = billing.topic('secret').subscribe();
    t.is(await reasonOf(t, subscription.opened), 'POLICY_DENIED');
  },
);
