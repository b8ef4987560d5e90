import test from 'ava';
import { parsePattern } from '../../../src/messaging/address.js';
import { key } from '../../../src/store/keys.js';
import { Change } from '../../../src/store/store.js';
import { ACME, connect, DurableSide, GLOBEX, outgoing, testIdentity } from '../../support/durable-side.js';
import { block, outgoing as local, TestLog } from '../../support/inbox.js';
import { TestStore } from '../../support/test-store.js';

const forever = new AbortController().signal;

test('damaged row of the log: is a gap of its channel and number; its neighbours are read', async t => {
  const acme = await DurableSide.open(await testIdentity(ACME), new TestStore());
  const before = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, before)).automatic();
  await outbox.received(await outbox.append(outgoing('1')), forever);
  await Promise.all(
    (await Promise.all(['2a', '2b', '2c'].map(text => outbox.append(outgoing(text))))).map(at =>
      outbox.received(at, forever),
    ),
  );
  await outbox.received(await outbox.append(outgoing('3')), forever);
  pair.cut();
  const offsets = (await before.store.scan('log', { limit: 10 })).map(row => Number(row.key.readBigUInt64BE(0)));
  t.deepEqual(offsets, [1, 2, 5]);
  await before.close();
  const globex = await DurableSide.open(await testIdentity(GLOBEX), await before.store.kill());
  globex.store.damageRow('log', key(2));
  const { entries } = await globex.inbox.read(0, parsePattern('**'), 100);
  t.deepEqual(
    entries.map(({ offset, count, gap }) => [offset, count, gap !== undefined]),
    [
      [1, 1, false],
      [2, 3, true],
      [5, 1, false],
    ],
  );
  t.is(entries[1]?.channel, entries[0]?.channel);
  // It has no time to go by, and hides nothing that does.
  t.is(await globex.inbox.offsetAt(1), 1);
});

const HUNDRED = block('x'.repeat(96));
const BYTES = HUNDRED.bytes.length;

/** A log with entries at offsets 1, 2, … of these channels. */
async function filled(channels: readonly string[]): Promise<TestLog> {
  const log = await TestLog.open();
  for (const channel of channels) await log.log.append(local(channel, HUNDRED));
  return log;
}

const keeping = (entries: number) => ({
  retention: [{ pattern: parsePattern('**'), keepMs: 1_000_000, keepBytes: entries * BYTES }],
});
const offsetsOf = async (log: TestLog): Promise<number[]> => (await log.all()).map(({ offset }) => offset);
const damagedOf = (log: TestLog): string[] =>
  log.events.flatMap(event => (event.kind === 'damaged' ? [`${event.row} ${event.channel} ${event.offset}`] : []));

for (const [what, offsets] of [
  ['the oldest', [1]],
  ['the newest', [9]],
  ['the two oldest', [1, 3]],
  ['the two newest', [7, 9]],
  ['all', [1, 3, 5, 7, 9]],
] as const) {
  test(`damaged row of a channel's index: ${what}: the log starts, tells it, and keeps as much of the channel as it should`, async t => {
    const before = await filled(['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b', 'a']);
    const lines = await before.lines();
    for (const offset of offsets) before.store.damageRow('log-channel', key('a', offset));
    const again = await before.reopen();
    t.deepEqual(await again.lines(), lines);
    t.deepEqual([again.log.first, again.log.end], [1, 10]);
    const edges = [...new Set([offsets[0], offsets.at(-1)])].map(offset => `log-channel a ${offset}`);
    for (const edge of edges) t.true(damagedOf(again).includes(edge), edge);
    t.is((await again.log.append(local('a', HUNDRED))).offset, 10);
    // Totals are right: of six entries of the channel the newest six are kept, and none goes.
    const kept = await again.reopen(keeping(6));
    await kept.log.trim();
    t.deepEqual(await offsetsOf(kept), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
}

test('damaged newest row of the log: the log starts behind it, and it is a gap of its number', async t => {
  const before = await filled(['a', 'b']);
  const three = block('1', '2', '3');
  await before.log.append(local('b', three));
  before.store.damageRow('log', key(3));
  const again = await before.reopen();
  t.deepEqual([again.log.first, again.log.end], [1, 6]);
  t.deepEqual(damagedOf(again), ['log b 3']);
  t.is((await again.log.append(local('a', HUNDRED))).offset, 6);
  const entries = await again.all();
  t.deepEqual(
    entries.map(({ offset, count, gap }) => [offset, count, gap !== undefined]),
    [
      [1, 1, false],
      [2, 1, false],
      [3, 3, true],
      [6, 1, false],
    ],
  );
});

test('damaged newest row of the log, and that of its channel: no number is given twice', async t => {
  const before = await filled(['a', 'b', 'a']);
  before.store.damageRow('log', key(3));
  before.store.damageRow('log-channel', key('a', 3));
  const again = await before.reopen();
  t.true(again.log.end >= 4);
  const { end } = again.log;
  const { offset } = await again.log.append(local('a', HUNDRED));
  t.is(offset, end);
  const entries = await again.all();
  t.deepEqual(
    entries.map(({ gap }) => gap !== undefined),
    [false, false, true, false],
  );
  t.is((entries[2]?.offset ?? 0) + (entries[2]?.count ?? 0), offset);
});

test('damaged row of a channel: retention goes past it, to the byte, and releases its body', async t => {
  const log = await TestLog.open(keeping(2));
  for (const channel of ['a', 'b', 'a', 'a', 'a']) await log.log.append(local(channel, HUNDRED));
  // Damaged while the gateway runs, and not only at the edge.
  for (const offset of [1, 4]) log.store.damageRow('log-channel', key('a', offset));
  await log.log.trim();
  t.deepEqual(await offsetsOf(log), [2, 4, 5]);
  t.is(log.store.disk.bodies.size, 3);
  t.deepEqual(damagedOf(log), ['log-channel a 1', 'log-channel a 4']);
  await log.log.append(local('a', HUNDRED));
  await log.log.trim();
  t.deepEqual(await offsetsOf(log), [2, 5, 6]);
  t.is(log.store.disk.bodies.size, 3);
  log.clock.now += 1_000_000;
  await log.log.trim();
  t.is(log.store.disk.tables.get('log-channel')?.rows.size, 0);
  t.is(log.store.disk.bodies.size, 0);
});

test('damaged row of a channel whose entry is damaged too: retention goes past both, neighbours stay by their own age', async t => {
  const log = await filled(['a', 'a', 'a']);
  log.store.damageRow('log-channel', key('a', 2));
  log.store.damageRow('log', key(2));
  const again = await log.reopen(keeping(1));
  await again.log.trim();
  t.deepEqual(await offsetsOf(again), [3]);
});

const seen = async (log: TestLog, pattern: string): Promise<string[]> =>
  (await log.all(parsePattern(pattern))).map(
    ({ offset, count, channel, gap }) => `${offset}+${count} ${channel}${gap ? ' gap' : ''}`,
  );

test('damaged row of the log: whoever its channel concerns is told, by whatever way the log is read; nobody else', async t => {
  const before = await filled(['a/x', 'b', 'c', 'd']);
  await before.log.append(local('a/x', block('1', '2', '3')));
  await before.log.append(local('b', HUNDRED));
  before.store.damageRow('log', key(5));
  const log = await before.reopen();
  // By the index of one channel, by that of several, and by going through the log.
  t.deepEqual(await seen(log, 'a/x'), ['1+1 a/x', '5+3 a/x gap']);
  t.deepEqual(await seen(log, 'a/*'), ['1+1 a/x', '5+3 a/x gap']);
  t.deepEqual(await seen(log, '**'), ['1+1 a/x', '2+1 b', '3+1 c', '4+1 d', '5+3 a/x gap', '8+1 b']);
  t.deepEqual(await seen(log, 'b'), ['2+1 b', '8+1 b']);
  t.deepEqual(damagedOf(log), ['log a/x 5']);
});

test('damaged row of the log: when no channel knows it, everybody who goes through the log is told, up to the next entry', async t => {
  const before = await filled(['a', 'b', 'c', 'd', 'a']);
  before.store.damageRow('log', key(2));
  await before.store.commit(new Change().remove('log-channel', key('b', 2)));
  const log = await before.reopen();
  t.deepEqual(await seen(log, '**'), ['1+1 a', '2+1  gap', '3+1 c', '4+1 d', '5+1 a']);
});

test('a row that is gone from the index of its channel: its entry is read all the same, mended, and trimmed in its turn', async t => {
  const before = await filled(['a', 'b', 'a', 'c', 'd', 'a', 'a', 'b']);
  for (const offset of [3, 6]) await before.store.commit(new Change().remove('log-channel', key('a', offset)));
  const log = await before.reopen();
  t.deepEqual(await seen(log, 'a'), ['1+1 a', '3+1 a', '6+1 a', '7+1 a']);
  t.deepEqual(damagedOf(log), ['log-channel a 3', 'log-channel a 6']);
  const again = await log.reopen(keeping(1));
  t.deepEqual(await seen(again, 'a'), ['1+1 a', '3+1 a', '6+1 a', '7+1 a']);
  t.deepEqual(damagedOf(again), []);
  await again.log.trim();
  t.deepEqual(await offsetsOf(again), [4, 5, 7, 8]);
});

test('a row that is gone from the index of its channel: retention finds its entry too', async t => {
  const before = await filled(['a', 'a', 'a', 'a']);
  await before.store.commit(new Change().remove('log-channel', key('a', 2)));
  const log = await before.reopen(keeping(1));
  await log.log.trim();
  t.deepEqual(await offsetsOf(log), [4]);
  t.is(log.store.disk.bodies.size, 1);
});

test('a row that is gone from the index of its channel, and whose entry is damaged: is a gap', async t => {
  const before = await filled(['a', 'b', 'a', 'c', 'd', 'a']);
  await before.store.commit(new Change().remove('log-channel', key('a', 3)));
  for (const offset of [3, 4]) before.store.damageRow('log', key(offset));
  const log = await before.reopen();
  t.deepEqual(await seen(log, 'a'), ['1+1 a', '3+1  gap', '6+1 a']);
});

test('a row of the log that is gone while its channel knows it is a gap; one that was trimmed is none', async t => {
  const before = await filled(['a', 'b', 'c', 'd', 'a', 'a']);
  await before.store.commit(new Change().remove('log', key(5)));
  const log = await before.reopen(keeping(2));
  t.deepEqual(await seen(log, 'a'), ['1+1 a', '5+1 a gap', '6+1 a']);
  await log.log.trim();
  t.deepEqual(await seen(log, 'a'), ['5+1 a gap', '6+1 a']);
});

test('damaged row of the log: what subscriptions hold is counted out to the byte when it is damaged meanwhile', async t => {
  const log = await filled(['a', 'b', 'c', 'd', 'a']);
  log.log.hold('s', parsePattern('**'), 1);
  await log.log.trim();
  t.is(log.log.heldBytes('GLOBEX'), 5 * BYTES);
  const again = await log.reopen();
  again.log.hold('s', parsePattern('**'), 1);
  await again.log.trim();
  again.store.damageRow('log', key(2));
  again.log.hold('s', parsePattern('**'), 6);
  await again.log.trim();
  t.is(again.log.heldBytes('GLOBEX'), 0);
});
