import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { fedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { told, World } from './world.js';

const ACCESS =
  'nodes: [{ node: "*", request: ["**", "pubsub://*/**"], respond: ["**"] }]\npeers: [{ org: ACME, request: ["print/*"] }]';

let orgs: { readonly ACME: TestOrg; readonly GLOBEX: TestOrg };
const undo: (() => unknown)[] = [];
test.before(async () => {
  const scope = { teardown: (action: () => unknown) => void undo.push(action) };
  orgs = await startFederation(scope, { ACME: { access: ACCESS }, GLOBEX: { access: ACCESS } });
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

test('one-way: it goes to the least busy, ends when that one has it, and is not handed on when it dies', t => {
  const w = new World();
  t.teardown(() => w.close());
  const [east, west] = [w.responder('east', ['q']), w.responder('west', ['q'])];
  w.ask('q');
  const { answers } = w.ask('q', { oneWay: true });
  t.deepEqual(answers.map(told), ['handed west 1']);
  t.is(w.pending.count, 1, 'nobody waits for it any more');
  west.leave();
  t.is(east.asked.length, 1, 'nobody else gets it');
  east.reply('x');
  east.disable('q');
  t.deepEqual(w.ask('q', { oneWay: true }).answers.map(told), ['NO_RESPONDERS 0'], 'a disabled role refuses it');
});

test('one-way: one that is never done with what it has gets no more than its capacity, and what waits is refused in time', t => {
  const w = new World();
  t.teardown(() => w.close());
  const [stuck, good] = [w.responder('stuck', ['q'], 1), w.responder('good', ['q'], 1)];
  w.ask('q', { oneWay: true });
  for (let i = 0; i < 5; i++) {
    w.ask('q', { oneWay: true });
    good.done();
  }
  t.is(stuck.asked.length, 1);
  w.ask('q', { oneWay: true });
  const late = w.ask('q', { oneWay: true, timeoutMs: 50 });
  w.pass(50);
  t.deepEqual(late.answers.map(told), ['DEADLINE_EXCEEDED 0']);
  const waits = w.ask('q', { oneWay: true });
  good.disable('q');
  stuck.disable('q');
  t.deepEqual(waits.answers.map(told), ['NO_RESPONDERS 0']);
});

test('one-way: across organisations and within, who got it is told, and what its handler does nobody hears', async t => {
  const [asker, printer] = [await orgs.ACME.node('asker'), await orgs.GLOBEX.node('printer')];
  const printed: string[] = [];
  const failures: unknown[] = [];
  let all: () => void = () => undefined;
  const whole = new Promise<void>(resolve => {
    all = resolve;
  });
  const responding = printer.respond(
    'print/*',
    request => {
      t.like(request, { senderOrg: 'ACME', oneWay: true });
      printed.push(request.text);
      if (printed.length === 12) all();
      throw new Error('no paper');
    },
    { capacity: 2, onError: error => failures.push(error) },
  );
  await responding.opened;
  const pages = Array.from({ length: 12 }, (_, i) => `page ${i}`);
  const handed = await Promise.all(pages.map(page => asker.tell('pubsub://GLOBEX/print/a4', page)));
  t.deepEqual(handed[0], { org: 'GLOBEX', node: 'printer' });
  await whole;
  t.deepEqual(printed.sort(), pages.sort());
  await responding.disable();
  t.true(failures.length >= 10);
  const refused = (address: string): Promise<FedgateError | undefined> =>
    t.throwsAsync<FedgateError>(asker.tell(address, 'x'));
  t.is((await refused('pubsub://GLOBEX/print/a4'))?.reason, 'NO_RESPONDERS', 'a disabled role refuses it');
  t.is((await refused('pubsub://GLOBEX/other'))?.reason, 'NOT_GRANTED');
  const own = await orgs.ACME.node('own');
  await own.respond('print/*', () => '').opened;
  t.deepEqual(await asker.tell('print/a4', 'x'), { org: 'ACME', node: 'own' });
});

test('one-way: fedgate request --one-way', async t => {
  const printer = await orgs.ACME.node('cli-printer');
  await printer.respond('cli/print', () => 'never seen').opened;
  const context = await orgs.ACME.context('cli-asker');
  const run = (...args: string[]) => fedgate(['request', 'cli/print', 'x', '--one-way', '--context', context, ...args]);
  t.like(await run(), { code: 0, stdout: 'ACME/cli-printer has it\n' });
  t.deepEqual(JSON.parse((await run('--json')).stdout), { org: 'ACME', node: 'cli-printer' });
  t.is((await run('--idempotency-key', 'k')).code, 2);
});
