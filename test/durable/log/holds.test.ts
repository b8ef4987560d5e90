import test from 'ava';
import fc from 'fast-check';
import { parsePattern } from '../../../src/messaging/address.js';
import { matches } from '../../../src/messaging/pattern.js';
import { ACME, block, LIMITS, outgoing, received, TestLog } from '../../support/inbox.js';

const INITECH = { ...ACME, org: 'INITECH' as typeof ACME.org };
const limits = { bytesPerPeer: 1_000, bytesPerChannel: 5_000, windowBytes: 600 };
const hundred = block('x'.repeat(96));

test('room: the window while nobody subscribes; what subscriptions have not passed makes it less', async t => {
  const test = await TestLog.open({ limits });
  for (let i = 1; i <= 20; i++) await test.log.receive(received(i, { records: hundred }));
  t.is(test.log.room(ACME), 600);
  test.log.hold('s', parsePattern('orders'), 12);
  await test.log.trim();
  t.is(test.log.room(ACME), 1_000 - 9 * hundred.bytes.length);
  t.is(test.log.room(INITECH), 600);
  await test.log.receive(received(21, { records: hundred, channel: 'other' }));
  t.is(test.log.room(ACME), 1_000 - 9 * hundred.bytes.length);
  await test.log.receive(received(22, { records: hundred }));
  t.is(test.log.room(ACME), 0);
  let heard = 0;
  test.log.onRoom(() => heard++);
  test.log.hold('s', parsePattern('orders'), 23);
  await test.log.trim();
  t.is(test.log.room(ACME), 600);
  t.true(heard > 0);
});

test('room: a full channel stops those who fill it', async t => {
  const test = await TestLog.open({ limits: { ...limits, bytesPerPeer: 100_000, bytesPerChannel: 1_000 } });
  test.log.hold('s', parsePattern('orders'), 1);
  for (let i = 1; i <= 9; i++) await test.log.receive(received(i, { records: hundred }));
  await test.log.receive(received(1, { from: INITECH, channel: 'bills' }));
  t.is(test.log.room(ACME), 1_000 - 9 * hundred.bytes.length);
  t.is(test.log.room(INITECH), 600);
});

test('room: none while the store is not well', async t => {
  const test = await TestLog.open();
  let heard = 0;
  test.log.onRoom(() => heard++);
  test.store.setHealth({ state: 'full', problem: 'the disk is full' });
  t.is(test.log.room(ACME), 0);
  test.store.setHealth({ state: 'ok', problem: '' });
  t.is(test.log.room(ACME), LIMITS.windowBytes);
  t.is(heard, 2);
});

test('room: what is under way counts, and no longer when it fails', async t => {
  const test = await TestLog.open({ limits });
  test.log.hold('s', parsePattern('**'), 1);
  test.store.failures = 1;
  const failed = [1, 2, 3, 4, 5].map(sequence => test.log.receive(received(sequence, { records: hundred })));
  t.is(test.log.room(ACME), 1_000 - 5 * hundred.bytes.length);
  await Promise.allSettled(failed);
  t.is(test.log.room(ACME), 600);
});

type Step =
  | { readonly kind: 'append'; readonly channel: string; readonly count: number }
  | { readonly kind: 'hold'; readonly name: string; readonly from: number }
  | { readonly kind: 'release'; readonly name: string }
  | { readonly kind: 'fail' };

const PATTERNS = { s: parsePattern('**'), t: parsePattern('a/*'), u: parsePattern('a') } as const;

test('holds: after any steps, what is counted is what the plainest count gives', async t => {
  const name = fc.constantFrom<keyof typeof PATTERNS>('s', 't', 'u');
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constant('append' as const),
      channel: fc.constantFrom('a', 'a/b', 'c'),
      count: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ kind: fc.constant('hold' as const), name, from: fc.nat(40) }),
    fc.record({ kind: fc.constant('release' as const), name }),
    fc.record({ kind: fc.constant('fail' as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40 }), async steps => {
      const test = await TestLog.open();
      const holds = new Map<keyof typeof PATTERNS, number>();
      const pending: Promise<unknown>[] = [];
      for (const [each, wait] of steps) {
        if (each.kind === 'append') {
          const records = block(...Array(each.count).fill('x'));
          pending.push(test.log.append(outgoing(each.channel, records)).catch(() => undefined));
        } else if (each.kind === 'fail') test.store.failures = 1;
        else if (each.kind === 'hold') {
          holds.set(each.name as keyof typeof PATTERNS, each.from);
          test.log.hold(each.name, PATTERNS[each.name as keyof typeof PATTERNS], each.from);
        } else {
          holds.delete(each.name as keyof typeof PATTERNS);
          test.log.release(each.name);
        }
        if (wait) await Promise.all(pending);
      }
      await Promise.all(pending);
      await test.log.trim();
      let held = 0;
      for (const { offset, count, channel, bytes } of await test.all()) {
        const needed = [...holds].some(([key, from]) => matches(PATTERNS[key], channel) && offset + count > from);
        if (needed) held += bytes;
      }
      await test.log.close();
      return test.log.heldBytes('GLOBEX') === held;
    }),
    { numRuns: 200 },
  );
  t.pass();
});
