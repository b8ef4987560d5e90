import test from 'ava';
import { parsePattern } from '../../../src/messaging/address.js';
import { block, outgoing, TestLog } from '../../support/inbox.js';

const rule = (pattern: string, keepMs: number, keepBytes = 1_000_000) => ({
  pattern: parsePattern(pattern),
  keepMs,
  keepBytes,
});
const HUNDRED = block('x'.repeat(96));
const offsets = async (test: TestLog): Promise<number[]> => (await test.all()).map(({ offset }) => offset);

async function fill(test: TestLog, channels: readonly string[]): Promise<void> {
  for (const channel of channels) await test.log.append(outgoing(channel, HUNDRED));
}

test('retention: by age, the first pattern that matches counts', async t => {
  const test = await TestLog.open({ retention: [rule('a/**', 1_000), rule('**', 5_000)] });
  await fill(test, ['a/x', 'b', 'a/x']);
  test.clock.now += 1_000;
  await fill(test, ['a/x', 'b']);
  await test.log.trim();
  t.deepEqual(await offsets(test), [2, 4, 5]);
  t.is(test.log.first, 2);
  t.is(test.store.disk.bodies.size, 3, 'bodies go with their rows');
  test.clock.now += 4_000;
  await test.log.trim();
  t.deepEqual(await offsets(test), [5]);
});

test('retention: by bytes of the channel, oldest first, without being asked', async t => {
  const test = await TestLog.open({ retention: [rule('a', 1_000_000, 3 * HUNDRED.bytes.length)] });
  await fill(test, Array(10).fill('a'));
  t.is((await offsets(test)).length, 10, 'nothing before the subscriptions are known');
  test.log.start();
  await fill(test, ['b', 'a']);
  while ((await offsets(test)).length > 4) await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(await offsets(test), [9, 10, 11, 12]);
  await test.log.close();
});

test('retention: what a subscription has not passed stays, and goes once it has', async t => {
  const test = await TestLog.open({ retention: [rule('**', 10)] });
  test.log.hold('slow', parsePattern('a'), 3);
  test.log.hold('quick', parsePattern('**'), 7);
  await fill(test, ['a', 'b', 'a', 'b', 'a', 'b']);
  test.clock.now += 1_000;
  await test.log.trim();
  t.deepEqual(await offsets(test), [3, 5]);
  test.log.hold('slow', parsePattern('a'), 5);
  await test.log.trim();
  t.deepEqual(await offsets(test), [5]);
  test.log.release('slow');
  await test.log.trim();
  t.deepEqual(await offsets(test), []);
  t.is(test.log.first, 7);
});

test('retention: a log that was trimmed to nothing goes on where it was, after a restart too', async t => {
  const test = await TestLog.open({ retention: [rule('**', 10)] });
  await fill(test, ['a', 'b', 'c']);
  test.clock.now += 1_000;
  await test.log.trim();
  t.deepEqual([test.log.first, test.log.end], [4, 4]);
  const again = await test.reopen();
  t.deepEqual([again.log.first, again.log.end], [4, 4]);
  t.is((await again.log.append(outgoing('a', HUNDRED))).offset, 4);
});

test('retention: thousands go in small steps, and the totals of a channel hold across a restart', async t => {
  const test = await TestLog.open({ retention: [rule('**', 1_000_000, 50 * HUNDRED.bytes.length)] });
  for (let i = 0; i < 1_000; i++) void test.log.append(outgoing('a', HUNDRED, { ttlMs: i + 1 }));
  await test.log.append(outgoing('a', HUNDRED));
  await test.log.trim();
  t.is((await test.all()).length, 50);
  const again = await test.reopen({ retention: [rule('**', 1_000_000, 20 * HUNDRED.bytes.length)] });
  await again.log.trim();
  t.is((await again.all()).length, 20);
});

test('retention: entries that come while others are trimmed are the first then', async t => {
  const test = await TestLog.open({ retention: [rule('**', 10)] });
  await fill(test, ['a', 'a']);
  test.clock.now += 1_000;
  const trimmed = test.log.trim();
  await Promise.all([trimmed, fill(test, ['a', 'b', 'a'])]);
  await test.log.trim();
  t.deepEqual(await offsets(test), [3, 4, 5]);
  test.clock.now += 1_000;
  await test.log.trim();
  t.deepEqual(await offsets(test), []);
  t.is(test.store.disk.tables.get('log-channel')?.rows.size, 0);
});

test('retention: a commit that fails leaves all as it was', async t => {
  const test = await TestLog.open({ retention: [rule('**', 10)] });
  await fill(test, ['a', 'b']);
  test.clock.now += 1_000;
  test.store.failures = 1;
  await t.throwsAsync(test.log.trim());
  t.deepEqual(await offsets(test), [1, 2]);
  await test.log.trim();
  t.deepEqual(await offsets(test), []);
});
