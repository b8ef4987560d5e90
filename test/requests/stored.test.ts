import test from 'ava';
import { type IncomingRequest, RequestError } from '../../src/client/index.js';
import type { FedgateError } from '../../src/errors.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry } from '../support/registry.js';

const ASKS = 'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"], status: true }]';
const ANSWERS = `${ASKS}\npeers: [{ org: ACME, request: ["orders/*"] }]`;
const ORDERS = 'pubsub://GLOBEX/orders/steel';

let orgs: { readonly ACME: TestOrg; readonly GLOBEX: TestOrg };
const undo: (() => unknown)[] = [];
test.before(async () => {
  const scope = { teardown: (action: () => unknown) => void undo.push(action) };
  orgs = await startFederation(scope, { ACME: { access: ASKS }, GLOBEX: { access: ANSWERS } });
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

test.serial(
  'stored: asked while the other organisation is away and nobody answers there, answered when there is somebody',
  async t => {
    const { ACME, GLOBEX } = orgs;
    await GLOBEX.stop();
    const asker = await ACME.node('asker');
    const { id, expires } = await asker.stored.ask(ORDERS, 'twelve tons', {
      headers: { lang: 'de' },
      expireAfterMs: 600_000,
    });
    t.true(expires.getTime() > Date.now() + 500_000);
    t.like(await asker.stored.get(id), { id, state: 'waiting', address: ORDERS, attempts: 0, reply: undefined });
    const answer = asker.stored.answer(id);
    await GLOBEX.start();
    const got: IncomingRequest[] = [];
    const clerk = await GLOBEX.node('clerk');
    clerk.respond('orders/*', request => {
      got.push(request);
      if (request.text === 'gold') throw new RequestError('OUT_OF_STOCK', 'no gold');
      return { payload: `sold: ${request.text}`, contentType: 'text/plain' };
    });
    t.like(await answer, {
      text: 'sold: twelve tons',
      org: 'GLOBEX',
      node: 'clerk',
      attempts: 1,
      contentType: 'text/plain',
    });
    t.like(got[0], { senderOrg: 'ACME', senderNode: 'asker', storedId: id, attempt: 1, channel: 'orders/steel' });
    t.is(got[0]?.headers.get('lang'), 'de');
    const gold = await asker.stored.ask(ORDERS, 'gold');
    const error = await t.throwsAsync<RequestError>(asker.stored.answer(gold.id));
    t.like(error, { code: 'OUT_OF_STOCK', org: 'GLOBEX', node: 'clerk' });
    const listed = [];
    for await (const each of asker.stored.list()) listed.push(each);
    t.deepEqual(listed.map(each => [each.id, each.state]).slice(0, 2), [
      [gold.id, 'answered'],
      [id, 'answered'],
    ]);
    await asker.stored.acknowledge(id);
    t.is((await asker.stored.get(id)).state, 'acknowledged', 'the SDK gave it a key');
    const other = await ACME.node('other');
    t.is((await t.throwsAsync<FedgateError>(other.stored.get(gold.id)))?.reason, 'REQUEST_UNKNOWN');
    clerk.close();
  },
);

test.serial(
  'stored: refused here at once, there as its end; a responder that dies has it given to another',
  async t => {
    const { ACME, GLOBEX } = orgs;
    const asker = await ACME.node('asker');
    const refused = (address: string) => t.throwsAsync<FedgateError>(asker.stored.ask(address, 'x'));
    t.is((await refused('pubsub://NOBODY/x'))?.reason, 'ORG_UNKNOWN');
    t.is((await refused('pubsub://*/x'))?.reason, 'FEATURE_UNSUPPORTED');
    t.is(
      (await t.throwsAsync<FedgateError>(asker.stored.ask(ORDERS, 'x', { expireAfterMs: 10 })))?.reason,
      'FIELD_INVALID',
    );
    const secret = await asker.stored.ask('pubsub://GLOBEX/secret', 'x');
    t.is((await t.throwsAsync<FedgateError>(asker.stored.answer(secret.id)))?.reason, 'NOT_GRANTED');
    const { id } = await asker.stored.ask(ORDERS, 'x');
    const doomed = await GLOBEX.node('doomed');
    await new Promise<void>(resolve => {
      doomed.respond('orders/*', () => {
        resolve();
        return new Promise(() => undefined);
      });
    });
    doomed.close();
    const heir = await GLOBEX.node('heir');
    heir.respond('orders/*', ({ attempt, storedId }) => `${attempt} ${storedId}`);
    t.like(await asker.stored.answer(id), { text: `2 ${id}`, node: 'heir', attempts: 2 });
    heir.close();
    const cancelled = await asker.stored.ask(ORDERS, 'x');
    const waiting = asker.stored.wait(cancelled.id);
    t.is((await asker.stored.cancel(cancelled.id)).state, 'cancelled');
    t.is((await waiting).state, 'cancelled');
  },
);

test.serial('stored: fedgate request --stored, requests list, show, answer and cancel', async t => {
  const { ACME, GLOBEX } = orgs;
  const context = await ACME.context('cli');
  const run = (...args: string[]) => fedgate([...args, '--context', context]);
  const { stdout, code } = await run('request', ORDERS, 'by hand', '--stored', '--expires', '1h');
  t.is(code, 0);
  const id = stdout.trim();
  t.regex(id, /^[0-9a-f]{32}$/);
  t.regex((await run('requests', 'list')).stdout, new RegExp(`${id} +${ORDERS} +waiting`));
  t.is((await run('requests', 'answer', id, '--wait', '300ms')).code, 3);
  t.regex((await run('requests', 'show', id)).stdout, /state +waiting/);
  const there = await GLOBEX.context('cli');
  t.regex((await run('status')).stdout, /^stored requests: [1-9]\d* of own nodes not answered yet, 0 wait/m);
  t.true(JSON.parse((await fedgate(['status', '--json', '--context', there])).stdout).requests.storedHere >= 1);
  const awaited = startFedgate(t, ['requests', 'answer', id, '--context', context]);
  const clerk = await GLOBEX.node('clerk');
  clerk.respond('orders/*', request => request.text.toUpperCase());
  await awaited.printed('BY HAND');
  t.is(await awaited.exited, 0);
  t.is((await run('requests', 'show', id)).code, 0, 'its key is known for a while');
  clerk.close();
  const unused = await run('request', ORDERS, 'x', '--expires', '1h');
  t.is(unused.code, 2);
  t.regex(unused.stderr, /--expires: is for --stored/);
  const second = (await run('request', ORDERS, 'x', '--stored', '--json')).stdout;
  const { id: next } = JSON.parse(second);
  t.regex((await run('requests', 'cancel', next)).stdout, /cancelled/);
  t.is(JSON.parse((await run('requests', 'show', next, '--json')).stdout).state, 'cancelled');
  t.is((await run('requests', 'show', '0'.repeat(32))).code, 5);
});

test('stored: both gateways killed again and again while requests are asked and answered; each is answered once', async t => {
  t.timeout(120_000);
  const registry = await startTestRegistry(t);
  const GLOBEX = await GatewayProcess.join(t, registry, 'GLOBEX', ANSWERS);
  const ACME = await GatewayProcess.join(t, registry, 'ACME', ASKS);
  const asker = await ACME.node(t, 'asker');
  const clerk = await GLOBEX.node(t, 'clerk');
  const given = new Map<string, string[]>();
  clerk.respond('orders/*', ({ storedId, attempt, text }) => {
    const replies = given.get(storedId) ?? [];
    given.set(storedId, replies);
    const reply = `${text} ${attempt} ${replies.length}`;
    replies.push(reply);
    return reply;
  });
  const ids: string[] = [];
  const asking = (async () => {
    for (let i = 0; i < 40; i++) ids.push((await asker.stored.ask(ORDERS, `${i}`)).id);
  })();
  for (const victim of [GLOBEX, ACME]) {
    const { length } = ids;
    while (ids.length < Math.min(40, length + 8)) await new Promise(resolve => setTimeout(resolve, 5));
    await victim.kill();
    await victim.start();
  }
  await asking;
  const replies = await Promise.all(ids.map(id => asker.stored.answer(id)));
  t.is(new Set(ids).size, 40);
  for (const [i, { text }] of replies.entries()) t.true(given.get(ids[i] as string)?.includes(text), text);
  t.deepEqual(
    replies.map(({ text }) => text.split(' ')[0]),
    Array.from({ length: 40 }, (_, i) => `${i}`),
  );
});
