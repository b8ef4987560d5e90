import test from 'ava';
import type { Idempotency } from '../../../src/durable/types.js';
import { FedgateError } from '../../../src/errors.js';
import { parsePattern } from '../../../src/messaging/address.js';
import { block, LIMITS, outgoing, TestLog } from '../../support/inbox.js';

const id = (text: string): Idempotency => ({ kind: 'id', id: text });
const reasonOf = (error: unknown): string => (error instanceof FedgateError ? error.reason : String(error));

test('publish: what one turn publishes of a kind is one entry, and each call learns its own offset', async t => {
  const test = await TestLog.open();
  const offsets = await Promise.all([
    test.log.append(outgoing('a', block('1', '2'))),
    test.log.append(outgoing('b', block('3'))),
    test.log.append(outgoing('a', block('4'))),
    test.log.append(outgoing('a', block('5'), { senderNode: 'other' })),
    test.log.append(outgoing('a', block('6'), { ttlMs: 5 })),
  ]);
  t.deepEqual(
    offsets.map(({ offset }) => offset),
    [1, 4, 3, 5, 6],
  );
  t.is(test.store.commits, 1);
  const entries = await test.all();
  t.deepEqual(
    entries.map(({ offset, count, senderNode, expireMs }) => [offset, count, senderNode, expireMs]),
    [
      [1, 3, 'shop', 0],
      [4, 1, 'shop', 0],
      [5, 1, 'other', 0],
      [6, 1, 'shop', 1_005],
    ],
  );
  t.true(entries.every(({ senderOrg, stream }) => senderOrg === 'GLOBEX' && stream === undefined));
  const [first] = entries;
  t.deepEqual(first && (await test.log.records(first)), block('1', '2', '4'));
});

test('publish: what comes while a commit is under way is merged into the next', async t => {
  const test = await TestLog.open();
  const first = test.log.append(outgoing('a', block('1')));
  await Promise.resolve();
  await Promise.resolve();
  const rest = ['2', '3', '4'].map(text => test.log.append(outgoing('a', block(text))));
  await first;
  await Promise.all(rest);
  t.deepEqual(
    (await test.all()).map(({ count }) => count),
    [1, 3],
  );
});

test('publish: an entry takes 256 KiB, a larger publish is one by itself', async t => {
  const test = await TestLog.open();
  const sizes = [200_000, 50_000, 300_000, 1_000];
  const limits = { ...LIMITS, bytesPerChannel: 10_000_000, bytesPerPeer: 10_000_000 };
  const large = await TestLog.open({ limits });
  await Promise.all(sizes.map(size => large.log.append(outgoing('a', block('x'.repeat(size))))));
  t.deepEqual(
    (await large.all()).map(({ count }) => count),
    [2, 1, 1],
  );
  await test.log.close();
});

test('publish: a repeated call is answered with the offset of the first', async t => {
  const test = await TestLog.open();
  const publish = (log: TestLog, text: string) => log.log.append(outgoing('a', block(text), { idempotency: id(text) }));
  t.deepEqual(await Promise.all([publish(test, 'x'), publish(test, 'y'), publish(test, 'x')]), [
    { offset: 1, duplicate: false },
    { offset: 2, duplicate: false },
    { offset: 1, duplicate: true },
  ]);
  const again = await test.reopen();
  t.deepEqual(await publish(again, 'y'), { offset: 2, duplicate: true });
  t.is(again.log.end, 3);
});

test('publish: a producer keeps its order through merging and failures', async t => {
  const test = await TestLog.open();
  const publish = (sequence: number, channel = 'a') =>
    test.log
      .append(outgoing(channel, block('x'), { idempotency: { kind: 'producer', id: 'p', epoch: 1, sequence } }))
      .then(({ offset, duplicate }) => `${offset}${duplicate ? '=' : ''}`, reasonOf);
  t.deepEqual(await Promise.all([publish(1), publish(2), publish(1, 'b'), publish(3)]), ['1', '2', '4', '3']);
  test.store.failures = 1;
  t.deepEqual(await Promise.all([publish(4), publish(5)]), ['STORE_FAILED', 'STORE_FAILED']);
  t.deepEqual(await Promise.all([publish(4), publish(4), publish(6)]), ['5', '5=', 'SEQUENCE_GAP']);
});

test('publish: more than a cap allows unconsumed is refused with INBOX_FULL, until it is consumed', async t => {
  const test = await TestLog.open({ limits: { ...LIMITS, bytesPerChannel: 1_000 } });
  const orders = parsePattern('orders');
  test.log.hold('s', orders, 1);
  const publish = (channel: string) =>
    test.log.append(outgoing(channel, block('x'.repeat(500)))).then(() => 'stored', reasonOf);
  t.is(await publish('orders'), 'stored');
  t.is(await publish('orders'), 'INBOX_FULL');
  t.is(await publish('other'), 'stored');
  test.log.hold('s', orders, test.log.end);
  await test.log.trim();
  t.is(await publish('orders'), 'stored');
});

test('publish: one that is larger than a cap is taken while nothing is held', async t => {
  const test = await TestLog.open({ limits: { ...LIMITS, bytesPerChannel: 1_000 } });
  test.log.hold('s', parsePattern('orders'), 1);
  t.is((await test.log.append(outgoing('orders', block('x'.repeat(5_000))))).offset, 1);
  await t.throwsAsync(test.log.append(outgoing('orders', block('x'))), { message: /unconsumed/ });
});
