import test from 'ava';
import { InboxLog } from '../../../src/durable/log/inbox-log.js';
import type { LogEntry, StreamPosition } from '../../../src/durable/types.js';
import { key } from '../../../src/store/keys.js';
import type { BodyRef } from '../../../src/store/store.js';
import type { RecordBlock } from '../../../src/wire/records.js';
import { block, outgoing, received, TestLog } from '../../support/inbox.js';

const origin = (position: StreamPosition): Promise<RecordBlock | undefined> =>
  Promise.resolve(block(`record ${position.sequence}`));

/** A log with three entries of which the second is damaged, and nothing in memory. */
async function damaged(refetch?: (position: StreamPosition) => Promise<RecordBlock | undefined>): Promise<TestLog> {
  const test = await TestLog.open();
  for (const sequence of [1, 2, 3]) await test.log.receive(received(sequence));
  const cold = await test.reopen({ refetch: refetch && ((_, position) => refetch(position)) });
  await harm(cold, 1);
  return cold;
}

async function harm(test: TestLog, at: number): Promise<void> {
  const entry = (await test.all())[at] as LogEntry & { readonly body: BodyRef };
  test.store.damage(entry.body);
}

const kinds = ({ events }: TestLog): string[] => events.map(({ kind }) => kind);

test('quarantine: a flipped bit is fetched again from the origin and mended on the disk', async t => {
  const test = await damaged(origin);
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 orders: 1 x 12', '3 orders: 1 x 12']);
  t.deepEqual(kinds(test), ['quarantined', 'mended']);
  t.deepEqual(test.log.counters, { quarantined: 1, mended: 1, lost: 0 });
  t.is(test.store.disk.bodies.size, 3, 'the bad body is released');
  const again = await test.reopen();
  t.is((await again.lines()).length, 3);
  t.deepEqual(kinds(again), []);
});

test('quarantine: what the origin no longer has is a gap, and its neighbours are not', async t => {
  const test = await damaged(() => Promise.resolve(undefined));
  const entries = await test.all();
  const records = await Promise.all(entries.map(entry => test.log.records(entry)));
  t.deepEqual(
    records.map(each => each?.count),
    [1, undefined, 1],
  );
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 orders: gap', '3 orders: 1 x 12']);
  t.deepEqual(await (await test.reopen()).lines(), ['1 orders: 1 x 12', '2 orders: gap', '3 orders: 1 x 12']);
  t.deepEqual(kinds(test), ['quarantined', 'lost']);
});

test('quarantine: other records than those that were signed are not taken', async t => {
  const test = await damaged(() => Promise.resolve(block('forged')));
  await test.lines();
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 orders: gap', '3 orders: 1 x 12']);
});

test('quarantine: while the origin is away readers wait, and all get the records', async t => {
  let away = 2;
  const test = await damaged(position => (away-- > 0 ? Promise.reject(new Error('no link')) : origin(position)));
  const entry = (await test.all())[1] as LogEntry;
  const both = await Promise.all([test.log.records(entry), test.log.records(entry)]);
  t.deepEqual(both, [block('record 2'), block('record 2')]);
  t.deepEqual(test.log.counters, { quarantined: 1, mended: 1, lost: 0 });
});

test('quarantine: a reader that gives up leaves the entry as it is', async t => {
  const test = await damaged(() => Promise.reject(new Error('no link')));
  const entry = (await test.all())[1] as LogEntry;
  const stop = new AbortController();
  const waiting = test.log.records(entry, stop.signal);
  stop.abort();
  await t.throwsAsync(waiting, { message: /nobody waits/ });
  t.is((await test.all())[1]?.gap, undefined);
  const closing = test.log.records(entry);
  await test.log.close();
  await t.throwsAsync(closing, { message: /nobody waits/ });
});

test('quarantine: what was published here has no origin and is lost', async t => {
  const test = await TestLog.open();
  await test.log.append(outgoing('a', block('x')));
  const cold = await test.reopen({ refetch: () => Promise.reject(new Error('nobody to be asked')) });
  await harm(cold, 0);
  t.deepEqual(await cold.lines(), ['1 a: undefined x undefined']);
  t.deepEqual(await cold.lines(), ['1 a: gap']);
});

test('quarantine: records that cannot be written again are given all the same', async t => {
  const test = await damaged(origin);
  test.store.failures = 1;
  t.is((await test.lines()).length, 3);
  t.deepEqual(kinds(test), ['quarantined', 'unmended']);
  t.is((await test.lines()).length, 3);
  t.deepEqual(kinds(test), ['quarantined', 'unmended', 'mended']);
});

test('quarantine: an entry that was trimmed meanwhile is neither bad nor lost', async t => {
  const test = await TestLog.open({ retention: [] });
  await test.log.receive(received(1));
  const cold = await test.reopen();
  const [entry] = await cold.all();
  cold.clock.now += 8 * 24 * 3600_000;
  await cold.log.trim();
  t.is(entry && (await cold.log.records(entry)), undefined);
  t.deepEqual(cold.events, []);
  t.true(cold.log instanceof InboxLog);
});

test('quarantine: records are mended although the row of their channel is damaged too, and are trimmed with it', async t => {
  const test = await damaged(origin);
  test.store.damageRow('log-channel', key('orders', 2));
  t.deepEqual(await test.lines(), ['1 orders: 1 x 12', '2 orders: 1 x 12', '3 orders: 1 x 12']);
  t.deepEqual(kinds(test), ['quarantined', 'mended']);
  test.clock.now += 30 * 86_400_000;
  await test.log.trim();
  t.is(test.store.disk.bodies.size, 0);
});

test('quarantine: records whose own row was damaged since it was read are lost, and nobody waits for them', async t => {
  const test = await damaged(origin);
  const [, entry] = await test.all();
  test.store.damageRow('log', key(2));
  t.is(entry && (await test.log.records(entry)), undefined);
});
