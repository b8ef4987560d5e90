import test from 'ava';
import fc from 'fast-check';
import type { LogEntry } from '../../../src/durable/types.js';
import { parsePattern } from '../../../src/messaging/address.js';
import { matches } from '../../../src/messaging/pattern.js';
import { block, EVERYTHING, outgoing, received, TestLog } from '../../support/inbox.js';

const offsetsOf = (entries: readonly LogEntry[]): number[] => entries.map(({ offset }) => offset);

test('read: an offset inside an entry finds that entry', async t => {
  const test = await TestLog.open();
  await test.log.append(outgoing('a', block('1', '2', '3')));
  await test.log.append(outgoing('b', block('4')));
  for (const log of [test, await test.reopen()]) {
    t.deepEqual(offsetsOf((await log.log.read(3, EVERYTHING, 10)).entries), [1, 4]);
    t.deepEqual(offsetsOf((await log.log.read(2, parsePattern('a'), 10)).entries), [1]);
    t.deepEqual(await log.log.read(4, parsePattern('a'), 10), { entries: [], next: 5 });
    t.deepEqual(await log.log.read(99, EVERYTHING, 10), { entries: [], next: 99 });
  }
});

test('read: any page of any pattern is what the plainest reading gives, from memory and from the disk', async t => {
  const channel = fc.constantFrom('a', 'b', 'a/b', 'a/c', 'b/c/d');
  const pattern = fc.constantFrom('**', 'a', 'a/*', 'a/**', '*', 'b/c/d', 'none', '*/c');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(channel, fc.integer({ min: 1, max: 3 })), { maxLength: 30 }),
      pattern,
      fc.nat(40),
      fc.integer({ min: 1, max: 5 }),
      async (publishes, text, from, limit) => {
        const test = await TestLog.open();
        for (const [to, count] of publishes) await test.log.append(outgoing(to, block(...Array(count).fill('x'))));
        let offset = 1;
        const plain: number[] = [];
        for (const [to, count] of publishes) {
          if (matches(parsePattern(text), to) && offset + count > from) plain.push(offset);
          offset += count;
        }
        const cold = await test.reopen();
        for (const log of [test, cold]) {
          const found = await log.all(parsePattern(text), from, limit);
          if (offsetsOf(found).join() !== plain.join()) return false;
          const { entries } = await log.log.read(from, parsePattern(text), limit);
          if (entries.length > limit) return false;
        }
        await cold.log.close();
        return true;
      },
    ),
    { numRuns: 150 },
  );
  t.pass();
});

test('read: a rare channel behind thousands of others is found without going through them', async t => {
  const test = await TestLog.open();
  await test.log.append(outgoing('rare', block('x')));
  for (let i = 0; i < 3_000; i++) void test.log.append(outgoing(`often/${i % 20}`, block(`${i}`), { ttlMs: i + 1 }));
  await test.log.append(outgoing('rare', block('y')));
  const cold = await test.reopen();
  t.is((await cold.log.read(2, parsePattern('rare'), 10)).entries.length, 1);
  t.is((await cold.all(parsePattern('often/*'), 0, 500)).length, 3_000);
  t.is((await cold.all(parsePattern('often/7'), 0, 7)).length, 150);
  // A piece in which nothing matches has a next all the same.
  const page = await cold.log.read(2, parsePattern('often/7/**'), 10);
  t.true(page.next > 2);
});

test('read: records come from memory while they are recent, then from the disk', async t => {
  const test = await TestLog.open();
  await test.log.receive(received(1));
  const [entry] = await test.all();
  t.truthy(entry && (await test.log.records(entry)));
  t.is(test.store.reads, 0);
  const cold = await test.reopen();
  const [again] = await cold.all();
  t.deepEqual(again && (await cold.log.records(again)), block('record 1'));
  t.is(cold.store.reads, 1);
});

test('read: offsets of times, also when the clock was set back', async t => {
  const test = await TestLog.open();
  for (const now of [1_000, 2_000, 1_500, 3_000]) {
    test.clock.now = now;
    await test.log.append(outgoing('a', block('x', 'y')));
  }
  t.deepEqual(
    (await test.all()).map(({ storedMs }) => storedMs),
    [1_000, 2_000, 2_000, 3_000],
  );
  for (const [time, offset] of [
    [0, 1],
    [1_000, 1],
    [1_001, 3],
    [2_000, 3],
    [2_001, 7],
    [3_001, 9],
  ] as const) {
    t.is(await test.log.offsetAt(time), offset, String(time));
  }
  test.clock.now = 10;
  const again = await test.reopen();
  await again.log.append(outgoing('a', block('z')));
  t.is((await again.all()).at(-1)?.storedMs, 3_000);
});

test('read: a listener hears of entries once they can be read', async t => {
  const test = await TestLog.open();
  const heard: Promise<number>[] = [];
  const off = test.log.onAppended(entry =>
    heard.push(test.log.read(entry.offset, EVERYTHING, 1).then(({ entries }) => entries.length)),
  );
  await test.log.append(outgoing('a', block('x')));
  await test.log.receive(received(1));
  off();
  await test.log.receive(received(2));
  t.deepEqual(await Promise.all(heard), [1, 1]);
});
