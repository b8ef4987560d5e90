import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { EXIT } from '../../src/cli/exit-codes.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation } from '../support/federation.js';
import type { TestScope } from '../support/registry.js';

const NODES = 'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], status: true, admin: true }]';
const ADDRESS = 'pubsub://GLOBEX/orders/created';

/** ACME publishes to GLOBEX; each has an operator that may do everything. */
async function startPair(t: TestScope) {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: NODES },
    GLOBEX: { access: `${NODES}\npeers: [{ org: ACME, publish: ["orders/*"] }]` },
  });
  const [acme, globex] = [await ACME.context('ops'), await GLOBEX.context('ops')];
  return {
    ACME,
    GLOBEX,
    globexContext: globex,
    acme: (...args: string[]) => fedgate([...args, '--context', acme]),
    acmeLines: (lines: string) => fedgate(['pub', ADDRESS, '--lines', '--context', acme], { stdin: lines }),
    globex: (...args: string[]) => fedgate([...args, '--context', globex]),
  };
}

test('pub and sub --durable: what was published before anybody subscribed is there, once', async t => {
  const { acme, globex } = await startPair(t);
  const stored = await acme('pub', ADDRESS, 'one');
  t.deepEqual([stored.code, stored.stdout], [EXIT.ok, 'GLOBEX has it on stable storage\n']);
  await acme('pub', ADDRESS, 'two');
  await acme('pub', ADDRESS, 'three');
  const consume = ['sub', 'orders/*', '--durable', 'billing'];
  const sub = (...args: string[]) => globex(...consume, '--raw', ...args);
  const subJson = async (...args: string[]) => (await globex(...consume, '--json', ...args)).stdout;
  t.is((await sub('--from', 'earliest', '--count', '2')).stdout, 'one\ntwo\n');
  // Exactly two were acknowledged, and none was delivered in vain.
  const third = JSON.parse(await subJson('--count', '1'));
  t.like(third, { payload: 'three', deliveryCount: 1 });
  const list = await globex('subs', 'list', '--json');
  t.like(JSON.parse(list.stdout)[0], { name: 'billing', pattern: 'orders/*', backlogRecords: 0, consumers: [] });
  t.regex((await globex('subs', 'seek', 'billing', 'earliest')).stdout, /waiting for it: 3$/m);
  t.is((await sub('--count', '3')).stdout, 'one\ntwo\nthree\n');
  t.is((await globex('subs', 'delete', 'billing', '--yes')).code, EXIT.ok);
  t.is((await globex('subs', 'show', 'billing')).code, EXIT.nothingThere);
});

test('sub --durable: offsets and times in JSON; what is there already under another pattern is refused', async t => {
  const { acme, globex } = await startPair(t);
  await acme('pub', ADDRESS, '{"n":1}', '--id', 'order-1', '--dedupe');
  const again = await acme('pub', ADDRESS, '{"n":1}', '--id', 'order-1', '--dedupe');
  t.regex(again.stdout, /it was published before, and is not stored again/);
  const sub = (pattern: string, ...args: string[]) => globex('sub', pattern, '--durable', 'audit', ...args);
  const { stdout } = await sub('orders/*', '--from', 'earliest', '--count', '1', '--json');
  const line = JSON.parse(stdout);
  t.like(line, { channel: 'orders/created', sender: { org: 'ACME', node: 'ops' }, id: 'order-1', deliveryCount: 1 });
  t.true(line.offset >= 0);
  t.regex(line.storedTime, /^\d{4}-\d\d-\d\dT/);
  const mismatch = await sub('invoices', '--count', '1');
  t.is(mismatch.code, EXIT.usage);
  t.regex(mismatch.stderr, /\[SUBSCRIPTION_MISMATCH\]/);
});

test('sub --durable: Ctrl-C settles what was printed and exits with 130', async t => {
  const { acme, globex, globexContext } = await startPair(t);
  const args = ['sub', 'orders/*', '--durable', 'billing', '--raw', '--context', globexContext];
  const sub = startFedgate(t, [...args, '--from', 'earliest']);
  await acme('pub', ADDRESS, 'one');
  await acme('pub', ADDRESS, 'two');
  await sub.printed('two\n');
  sub.child.kill('SIGINT');
  t.is(await sub.exited, EXIT.interrupted);
  t.regex(sub.stderr, /interrupted; 2 records were acknowledged, what follows waits for the next time/);
  t.is(sub.stdout, 'one\ntwo\n');
  const { stdout } = await globex('subs', 'show', 'billing', '--json');
  t.like(JSON.parse(stdout), { backlogRecords: 0, pendingRecords: 0, acknowledgedRecords: 2 });
});

test('pub: an organisation that is away; outbox list, show, pause, resume and purge', async t => {
  const { GLOBEX, acme, acmeLines, globex } = await startPair(t);
  await acme('pub', ADDRESS, 'first');
  await GLOBEX.stop();
  const away = await acme('pub', ADDRESS, 'second', '--ack-timeout', '200ms');
  t.is(away.code, EXIT.ok);
  t.is(away.stdout, 'stored here; GLOBEX has not confirmed within 200 ms, it is sent when GLOBEX can be reached\n');
  const asked = await acme('pub', ADDRESS, 'third', '--ack', 'received', '--ack-timeout', '200ms');
  t.is(asked.code, EXIT.unreachable);
  t.regex(asked.stderr, /\[ACK_TIMEOUT\]/);
  t.like(JSON.parse((await acme('outbox', 'list', '--json')).stdout)[0], { org: 'GLOBEX', waitingRecords: 2 });
  t.regex((await acme('status')).stdout, /^GLOBEX +away +2 /m);
  t.is((await acme('outbox', 'pause', 'GLOBEX')).stdout, 'sending to GLOBEX is paused; 2 records wait\n');
  await GLOBEX.start();
  t.regex((await acme('outbox', 'show', 'GLOBEX')).stdout, /^state +paused by an operator$/m);
  t.is((await acme('outbox', 'resume', 'GLOBEX')).code, EXIT.ok);
  const sub = await globex('sub', 'orders/*', '--durable', 'all', '--from', 'earliest', '--raw', '--count', '3');
  t.is(sub.stdout, 'first\nsecond\nthird\n');
  await acme('outbox', 'pause', 'GLOBEX');
  await acme('pub', ADDRESS, 'never', '--ack', 'stored');
  t.is((await acme('outbox', 'purge', 'GLOBEX')).code, EXIT.usage);
  t.is((await acme('outbox', 'purge', 'GLOBEX', '--yes')).stdout, 'dropped 1 record in 1 batch for GLOBEX\n');
  await acme('outbox', 'resume', 'GLOBEX');
  const lines = await acmeLines('a\nb\n');
  t.is(lines.stdout, 'published 2 lines, 2 bytes; GLOBEX has all on stable storage\n');
});

test('dead: what the other organisation refuses is told, shown and dropped', async t => {
  const { acme } = await startPair(t);
  const refused = await acme('pub', 'pubsub://GLOBEX/secrets', 'hello');
  t.is(refused.code, EXIT.refused);
  t.regex(refused.stderr, /\[NOT_GRANTED\]/);
  const [letter] = JSON.parse((await acme('dead', 'list', '--json')).stdout);
  t.like(letter, { direction: 'outgoing', org: 'GLOBEX', channel: 'secrets', records: 1 });
  t.regex((await acme('dead', 'show', String(letter.id))).stdout, /^given up by +GLOBEX's gateway, which refused it$/m);
  t.is((await acme('dead', 'drop', String(letter.id), '--yes')).stdout, 'dropped 1 dead letter\n');
  t.regex((await acme('dead', 'list')).stderr, /there are no dead letters/);
});

test('evidence: what was exported proves offline what was sent; a changed file does not', async t => {
  const { ACME, GLOBEX, acme } = await startPair(t);
  await acme('pub', ADDRESS, 'one', '--ack', 'received');
  const file = join(ACME.folder, 'sent.evidence');
  t.is((await acme('evidence', 'export', '--to', file, '--org', 'GLOBEX', '--sent')).code, EXIT.ok);
  const authorities = [ACME, GLOBEX].flatMap(({ folder }) => ['--ca', join(folder, 'ca', 'tls.crt')]);
  const verified = await fedgate(['evidence', 'verify', file, ...authorities]);
  t.is(verified.code, EXIT.ok);
  const changed = (await readFile(file, 'utf8')).replace('"direction":"sent"', '"direction":"received"');
  await writeFile(file, changed);
  t.is((await fedgate(['evidence', 'verify', file, ...authorities])).code, EXIT.checkFailed);
});

test('pub --lines into sub --durable: every line comes out in order, through a restart of the receiver', async t => {
  const { GLOBEX, acmeLines, globexContext } = await startPair(t);
  const lines = Array.from({ length: 20_000 }, (_, n) => `line ${n} ${'x'.repeat(n % 100)}\n`).join('');
  const count = ['--count', '20000'];
  const sub = startFedgate(t, [
    ...['sub', 'orders/*', '--durable', 'all', '--from', 'earliest', '--raw', ...count],
    ...['--context', globexContext],
  ]);
  await sub.printed('subscription all made');
  const published = acmeLines(lines);
  await sub.printed('line 100 ');
  await GLOBEX.stop();
  await GLOBEX.start();
  const { code, stdout } = await published;
  t.is(code, EXIT.ok);
  t.regex(stdout, /^published 20000 lines, \d+ bytes; /);
  t.is(await sub.exited, EXIT.ok);
  // What was not settled when the gateway stopped comes again; nothing is missing, and nothing new comes before what is older.
  let next = 0;
  for (const line of sub.stdout.split('\n').slice(0, -1)) {
    const number = Number(line.split(' ')[1]);
    t.true(number <= next, `line ${number} came when ${next} was due`);
    if (number === next) next++;
  }
});

test('store stats: tells of what was stored', async t => {
  const { acme, globex } = await startPair(t);
  await acme('pub', ADDRESS, 'one');
  const { stdout } = await globex('store', 'stats', '--json');
  const { state, diskBytes, commits } = JSON.parse(stdout);
  t.is(state, 'ok');
  t.true(diskBytes > 0 && commits > 0);
});
