import test from 'ava';
import { FedgateError } from '../../../src/errors.js';
import { parsePattern } from '../../../src/messaging/address.js';
import { RecordEncoder } from '../../../src/wire/record-codec.js';
import { MAX_RECORD_BYTES, type RecordBlock } from '../../../src/wire/records.js';
import { block, outgoing, received } from '../../support/inbox.js';
import { acked, type Opened, World, wanted } from './world.js';

const NOTHING = { delayMs: 0, reason: '', deadLetter: false, ackId: 0n };
const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    error => (error instanceof FedgateError ? error.reason : String(error)),
  );

function keyed(...keys: readonly string[]): RecordBlock {
  const encoder = new RecordEncoder(1024, 0);
  for (const key of keys) encoder.add({ payload: key, key: key.slice(0, 1) }, 1);
  const { bytes, start, end } = encoder.finish();
  return { bytes: bytes.subarray(start, end), count: keys.length };
}

test('subscription: delivers what is stored and what comes, and only its pattern', async t => {
  const world = await World.open();
  const { log } = world.log;
  await log.append(outgoing('orders', block('a', 'b')));
  await log.append(outgoing('other', block('x')));
  const { sink, created, offset } = await world.consume();
  t.true(created);
  t.is(offset, log.first);
  await log.append(outgoing('orders', block('c')));
  const at = log.first;
  t.deepEqual(await sink.until(3), [`${at}:a`, `${at + 1}:b`, `${at + 3}:c`]);
  t.is(sink.frames[0]?.senderOrg, 'GLOBEX');
  t.is(sink.frames[0]?.senderNode, 'shop');
  await world.close();
});

test('subscription: credit is the permission to deliver, and cuts batches', async t => {
  const world = await World.open();
  await world.log.log.append(outgoing('orders', block('a', 'b', 'c', 'd', 'e')));
  const { sink, consumer } = await world.consume({}, 'shop', 2);
  t.deepEqual(
    (await sink.until(2)).map(line => line.slice(-1)),
    ['a', 'b'],
  );
  consumer.credit(1);
  t.deepEqual(
    (await sink.until(3)).map(line => line.slice(-1)),
    ['a', 'b', 'c'],
  );
  t.is(sink.frames.length, 2);
  await world.close();
});

test('subscription: a sink that is full gets nothing until it drains', async t => {
  const world = await World.open();
  const opened = await world.consume({}, 'shop', 0);
  opened.sink.writable = false;
  opened.consumer.credit(10);
  await world.log.log.append(outgoing('orders', block('a')));
  await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(opened.sink.lines, []);
  opened.sink.drain();
  t.is((await opened.sink.until(1)).length, 1);
  await world.close();
});

test('subscription: what is acknowledged is settled, survives a restart and lets the log go', async t => {
  const world = await World.open();
  const { log } = world.log;
  const { offset } = await log.append(outgoing('orders', block('a', 'b', 'c', 'd')));
  const opened = await world.consume();
  await opened.sink.until(4);
  await acked(opened, offset, offset + 1, 7n);
  await acked(opened, offset + 3, offset + 3, 8n);
  const again = await world.crash();
  const { sink, created, offset: floor } = await again.consume({ pattern: undefined });
  t.false(created);
  t.is(floor, offset + 2);
  t.deepEqual(await sink.until(1), [`${offset + 2}:c#2`]);
  t.is((await again.subscriptions.status('jobs')).acknowledged, 3);
  await again.close();
});

test('subscription: whoever comes is told of no place before all behind it is on stable storage', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const first = await world.consume({ group: true }, 'shop', 2);
  await first.sink.until(2);
  const { store } = world.log;
  const commit = store.commit.bind(store);
  const held: (() => void)[] = [];
  store.commit = change => new Promise<void>(resolve => held.push(resolve)).then(() => commit(change));
  first.consumer.ack([{ first: offset, last: offset + 1 }], 1n);
  let told: number | undefined;
  const opening = world.consume({ group: true }, 'other').then(opened => {
    told = opened.offset;
  });
  while (held.length === 0) await new Promise(resolve => setImmediate(resolve));
  for (let turns = 0; turns < 20; turns++) await new Promise(resolve => setImmediate(resolve));
  t.is(told, undefined);
  store.commit = commit;
  for (const release of held) release();
  await opening;
  t.is(told, offset + 2);
  await world.close();
});

test('subscription: acknowledgements that come while a commit is under way share the next one', async t => {
  const world = await World.open();
  const { log } = world.log;
  const { offset } = await log.append(outgoing('orders', block(...'abcdefghij')));
  const opened = await world.consume();
  await opened.sink.until(10);
  const before = world.log.store.commits;
  for (let i = 0; i < 10; i++) opened.consumer.ack([{ first: offset + i, last: offset + i }], BigInt(i + 1));
  await opened.sink.until(20);
  t.true(world.log.store.commits - before <= 3);
  await world.close();
});

test('subscription: what is out to nobody is not acknowledged', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const opened = await world.consume({}, 'shop', 1);
  await opened.sink.until(1);
  await acked(opened, offset, offset + 1, 1n);
  opened.consumer.credit(1);
  t.deepEqual((await opened.sink.until(3)).at(-1), `${offset + 1}:b`);
  await world.close();
});

test('subscription: nack delivers again at once, with the count', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink, consumer } = await world.consume();
  await sink.until(2);
  consumer.nack([{ first: offset, last: offset }], NOTHING);
  t.deepEqual((await sink.until(3))[2], `${offset}:a#2`);
  t.is((await world.subscriptions.status('jobs')).redelivered, 1);
  await world.close();
});

test('subscription: a delay and the ack wait are by the clock that never steps', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink, consumer } = await world.consume({ ackWaitMs: 60_000 });
  await sink.until(2);
  // A day by the wall clock changes nothing.
  world.log.clock.now += 86_400_000;
  consumer.nack([{ first: offset, last: offset }], { ...NOTHING, delayMs: 50 });
  t.deepEqual((await sink.until(3))[2], `${offset}:a#2`);
  t.is(sink.lines.length, 3);
  await world.close();
});

test('subscription: what is not acknowledged in time comes again, unless it is being worked on', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink, consumer } = await world.consume({ ackWaitMs: 300 });
  await sink.until(2);
  const working = setInterval(() => consumer.inProgress([{ first: offset + 1, last: offset + 1 }]), 20);
  const lines = await sink.until(3);
  clearInterval(working);
  t.is(lines[2], `${offset}:a#2`);
  await world.close();
});

test('subscription: after the last delivery a record is a dead letter, its sender knows, and the consumer is told', async t => {
  const world = await World.open();
  await world.log.log.receive(received(1, { records: block('a', 'b'), notifyConsumed: true }));
  const opened = await world.consume({ maxDeliveries: 2 });
  const [first] = await opened.sink.until(2);
  const offset = Number(first?.split(':')[0]);
  opened.consumer.nack([{ first: offset, last: offset }], NOTHING);
  await opened.sink.until(3);
  opened.consumer.nack([{ first: offset, last: offset }], { ...NOTHING, reason: 'cannot be read' });
  t.is((await opened.sink.until(4))[3], `deadLettered ${offset}-${offset} cannot be read`);
  t.deepEqual(world.told, ['ACME 1/1 [0] given up: cannot be read (2)']);
  // The rest is acknowledged, but the batch was not consumed.
  await acked(opened, offset + 1, offset + 1, 1n);
  t.is(world.told.length, 1);
  const [letter] = await world.deadLetters.list({ direction: undefined, subscription: '', org: '' }, 0, 10);
  t.like(letter, {
    subscription: 'jobs',
    org: 'ACME',
    offset,
    deliveries: 2,
    reason: 'cannot be read',
    channel: 'orders',
  });
  t.deepEqual((await world.deadLetters.get(letter?.id ?? 0)).records, block('a'));
  t.is(world.deadLetters.countOf('jobs'), 1);
  await world.close();
});

test('subscription: a consumer may give records up at once', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b', 'c')));
  const { sink, consumer } = await world.consume();
  await sink.until(3);
  consumer.nack([{ first: offset, last: offset + 2 }], { ...NOTHING, deadLetter: true, reason: 'no', ackId: 5n });
  const lines = await sink.until(5);
  t.deepEqual(lines.slice(3).sort(), [`deadLettered ${offset}-${offset + 2} no`, 'settled 5']);
  t.is(world.deadLetters.total, 3);
  t.deepEqual(world.told, []);
  await world.close();
});

test('subscription: the sender is told once that a batch was consumed, by the first to acknowledge all of it', async t => {
  const world = await World.open();
  await world.log.log.receive(received(1, { records: block('a', 'b'), notifyConsumed: true }));
  const one = await world.consume({ name: 'one' });
  const two = await world.consume({ name: 'two' });
  const at = Number((await one.sink.until(2))[0]?.split(':')[0]);
  await two.sink.until(2);
  await acked(one, at, at, 1n);
  t.deepEqual(world.told, []);
  await acked(two, at, at + 1, 1n);
  await acked(one, at + 1, at + 1, 2n);
  t.deepEqual(world.told, ['ACME 1/1 consumed']);
  await world.close();
});

test('subscription: who publishes here can wait until it is consumed', async t => {
  const world = await World.open();
  const opened = await world.consume();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b'), { notifyConsumed: true }));
  const consumed = world.subscriptions.consumedHere(offset, 2, new AbortController().signal);
  await opened.sink.until(2);
  await acked(opened, offset, offset + 1, 1n);
  await t.notThrowsAsync(consumed);
  await t.notThrowsAsync(world.subscriptions.consumedHere(offset, 2, AbortSignal.abort()));
  await world.close();
});

test('subscription: gaps and what is out of date are told at their place and passed', async t => {
  const world = await World.open();
  const { log, clock } = world.log;
  await log.receive(received(1));
  await log.receive(received(2, { withheld: 'purged', recordCount: 3 }));
  await log.receive(received(3, { withheld: 'expired', recordCount: 2 }));
  await log.receive(received(4, { expireMs: clock.now + 10 }));
  await log.receive(received(5));
  clock.now += 100;
  const opened = await world.consume();
  const lines = await opened.sink.until(5);
  const at = log.first;
  t.deepEqual(lines, [
    `${at}:record 1`,
    `gap ${at + 1}-${at + 3} the sender's operator purged them`,
    `expired ${at + 4}-${at + 5}`,
    `expired ${at + 6}-${at + 6}`,
    `${at + 7}:record 5`,
  ]);
  await acked(opened, at, at, 1n);
  t.is((await world.subscriptions.status('jobs')).offset, at + 7);
  await world.close();
});

test('subscription: what a consumer leaves behind goes to the next, marked', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const first = await world.consume();
  await first.sink.until(2);
  await acked(first, offset, offset, 1n);
  await first.consumer.finish();
  const second = await world.consume({}, 'other');
  t.deepEqual(await second.sink.until(1), [`${offset + 1}:b#2`]);
  await world.close();
});

test('subscription: half-close settles what was acknowledged before', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b')));
  const { sink, consumer } = await world.consume();
  await sink.until(2);
  consumer.ack([{ first: offset, last: offset + 1 }], 3n);
  await consumer.finish();
  t.is(sink.lines.at(-1), 'settled 3');
  const again = await world.crash();
  t.is((await again.subscriptions.status('jobs')).offset, offset + 2);
  await again.close();
});

test('subscription: exclusive is one node: another is refused, the same one takes over', async t => {
  const world = await World.open();
  await world.log.log.append(outgoing('orders', block('a')));
  const first = await world.consume();
  await first.sink.until(1);
  t.is(await reasonOf(world.consume({}, 'other')), 'SUBSCRIPTION_BUSY');
  const second = await world.consume();
  t.is(await reasonOf(first.consumer.ended), 'SUBSCRIPTION_TAKEN');
  t.is(await reasonOf(first.consumer.finish()), 'SUBSCRIPTION_TAKEN');
  t.is((await second.sink.until(1))[0]?.endsWith('a#2'), true);
  await world.close();
});

test('subscription: another pattern or kind under the same name is refused; times change', async t => {
  const world = await World.open();
  await world.consume({ ackWaitMs: 1_000 });
  t.is(await reasonOf(world.consume({ pattern: parsePattern('other') })), 'SUBSCRIPTION_MISMATCH');
  t.is(await reasonOf(world.consume({ group: true })), 'SUBSCRIPTION_MISMATCH');
  t.is(await reasonOf(world.consume({ pattern: undefined, group: true })), 'SUBSCRIPTION_MISMATCH');
  await world.consume({ pattern: undefined, ackWaitMs: 5_000, maxDeliveries: 3 });
  t.like(world.subscriptions.definition('jobs'), { ackWaitMs: 5_000, maxDeliveries: 3 });
  const again = await world.crash();
  t.like(again.subscriptions.definition('jobs'), { ackWaitMs: 5_000, maxDeliveries: 3 });
  t.is(await reasonOf(again.consume({ name: 'none', pattern: undefined })), 'SUBSCRIPTION_UNKNOWN');
  await again.close();
});

test('subscription: a group shares records, keys stay together and in order', async t => {
  const world = await World.open();
  const { log } = world.log;
  const one = await world.consume({ group: true }, 'one');
  const two = await world.consume({ group: true }, 'two');
  const { offset } = await log.append(outgoing('orders', keyed('a1', 'a2')));
  await log.append(outgoing('orders', keyed('b1', 'b2')));
  await log.append(outgoing('orders', keyed('a3', 'b3', 'a4')));
  while (one.sink.lines.length + two.sink.lines.length < 7)
    await Promise.race([one.sink.until(one.sink.lines.length + 1), two.sink.until(two.sink.lines.length + 1)]);
  const texts = (opened: Opened): string => opened.sink.lines.map(line => line.split(':')[1]).join(' ');
  t.deepEqual([texts(one), texts(two)].sort(), ['a1 a2 a3 a4', 'b1 b2 b3']);
  // The consumer of `a` goes: all of its records come to the other, in order.
  const [gone, left] = texts(one).startsWith('a') ? [one, two] : [two, one];
  gone.consumer.close();
  await left.sink.until(7);
  t.is(texts(left), 'b1 b2 b3 a1#2 a2#2 a3#2 a4#2');
  t.is((await world.subscriptions.status('jobs')).offset, offset);
  await world.close();
});

test('subscription: a commit that fails confirms nothing, ends the stream, and memory is what is committed', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b', 'c')));
  const opened = await world.consume();
  await opened.sink.until(3);
  await acked(opened, offset, offset, 1n);
  world.log.store.failures = 1;
  opened.consumer.ack([{ first: offset + 1, last: offset + 1 }], 2n);
  t.is(await reasonOf(opened.consumer.ended), 'STORE_FAILED');
  t.false(opened.sink.lines.includes('settled 2'));
  const again = await world.consume();
  t.deepEqual(await again.sink.until(2), [`${offset + 1}:b#2`, `${offset + 2}:c#2`]);
  await acked(again, offset + 1, offset + 2, 1n);
  t.is((await world.subscriptions.status('jobs')).offset, offset + 3);
  await world.close();
});

test('subscription: a dead letter whose commit failed is one in the end, once', async t => {
  const world = await World.open();
  await world.log.log.receive(received(1, { records: block('a') }));
  const { sink, consumer } = await world.consume({ maxDeliveries: 1 });
  const offset = Number((await sink.until(1))[0]?.split(':')[0]);
  world.log.store.failures = 1;
  consumer.nack([{ first: offset, last: offset }], NOTHING);
  t.is(await reasonOf(consumer.ended), 'STORE_FAILED');
  t.is(world.deadLetters.total, 0);
  const again = await world.consume();
  await again.sink.until(1);
  again.consumer.nack([{ first: offset, last: offset }], NOTHING);
  t.regex((await again.sink.until(2))[1] ?? '', /^deadLettered/);
  t.is(world.deadLetters.total, 1);
  await world.close();
});

test('subscription: seek goes anywhere that the log is, and ends the streams', async t => {
  const world = await World.open();
  const { log } = world.log;
  const { offset } = await log.append(outgoing('orders', block('a', 'b', 'c')));
  const opened = await world.consume();
  await opened.sink.until(3);
  await acked(opened, offset, offset + 2, 1n);
  await world.subscriptions.seek('jobs', { kind: 'offset', offset: offset + 1 });
  t.is(await reasonOf(opened.consumer.ended), 'SUBSCRIPTION_MOVED');
  const again = await world.consume();
  t.is(again.offset, offset + 1);
  t.deepEqual(await again.sink.until(2), [`${offset + 1}:b`, `${offset + 2}:c`]);
  t.is(await reasonOf(world.subscriptions.seek('jobs', { kind: 'offset', offset: 1_000 })), 'POSITION_UNAVAILABLE');
  world.log.store.failures = 1;
  t.is(await reasonOf(world.subscriptions.seek('jobs', { kind: 'latest' })), 'STORE_FAILED');
  t.is((await world.subscriptions.status('jobs')).offset, offset + 1);
  await world.subscriptions.seek('jobs', { kind: 'latest' });
  const restarted = await world.crash();
  t.is((await restarted.subscriptions.status('jobs')).offset, offset + 3);
  await restarted.close();
});

test('subscription: delete ends the streams, and nothing is left', async t => {
  const world = await World.open();
  const { consumer } = await world.consume();
  t.true(world.subscriptions.wants('orders'));
  await world.subscriptions.delete('jobs');
  t.is(await reasonOf(consumer.ended), 'SUBSCRIPTION_UNKNOWN');
  t.false(world.subscriptions.wants('orders'));
  t.is(await reasonOf(world.subscriptions.delete('jobs')), 'SUBSCRIPTION_UNKNOWN');
  const again = await world.crash();
  t.is(again.subscriptions.size, 0);
  await again.close();
});

test('subscription: begins where it is told', async t => {
  const world = await World.open();
  const { log, clock } = world.log;
  const { offset } = await log.append(outgoing('orders', block('a')));
  clock.now += 1_000;
  await log.append(outgoing('orders', block('b')));
  const at = async (from: ReturnType<typeof wanted>['from'], name: string): Promise<number> =>
    (await world.consume({ name, from })).offset;
  t.is(await at({ kind: 'latest' }, 'latest'), offset + 2);
  t.is(await at({ kind: 'earliest' }, 'earliest'), log.first);
  t.is(await at({ kind: 'time', timeMs: clock.now }, 'time'), offset + 1);
  t.is(await at({ kind: 'offset', offset: offset + 1 }, 'offset'), offset + 1);
  t.is(await reasonOf(at({ kind: 'offset', offset: 99 }, 'beyond')), 'POSITION_UNAVAILABLE');
  await world.close();
});

test('subscription: the number of them is bounded', async t => {
  const world = await World.open({ subscriptions: 2 });
  await world.consume({ name: 'one' });
  await world.consume({ name: 'two' });
  t.is(await reasonOf(world.consume({ name: 'three' })), 'LIMIT_REACHED');
  await world.subscriptions.delete('one');
  t.is(await reasonOf(world.consume({ name: 'three' })), 'none');
  await world.close();
});

test('subscription: what is unsettled is bounded: more comes when some of it is settled', async t => {
  const world = await World.open({ unsettledRecords: 4 });
  const { log } = world.log;
  const { offset } = await log.append(outgoing('orders', block('a', 'b')));
  for (const text of 'cdefgh') await log.append(outgoing('orders', block(text)));
  const opened = await world.consume();
  const first = await opened.sink.until(4);
  t.true(first.length < 8);
  await acked(opened, offset, offset + 3, 1n);
  await opened.sink.until(6);
  await acked(opened, offset, offset + 7, 2n);
  const lines = await opened.sink.until(10);
  t.is(lines.filter(line => /:/.test(line)).length, 8);
  await world.close();
});

test('subscription: records in memory are bounded for one and for all', async t => {
  const world = await World.open({ aheadBytes: 100, aheadBytesOfAll: 150 });
  const big = 'x'.repeat(80);
  const { log } = world.log;
  const { offset } = await log.append(outgoing('orders', block(big)));
  for (let i = 1; i < 10; i++) await log.append(outgoing('orders', block(big)));
  const one = await world.consume({ name: 'one' }, 'shop', 1);
  const two = await world.consume({ name: 'two' }, 'shop', 1);
  await Promise.all([one.sink.until(1), two.sink.until(1)]);
  one.consumer.credit(20);
  two.consumer.credit(20);
  await Promise.all([one.sink.until(10), two.sink.until(10)]);
  one.consumer.nack([{ first: offset, last: offset + 9 }], NOTHING);
  t.is((await one.sink.until(20)).filter(line => line.endsWith('#2')).length, 10);
  t.true(MAX_RECORD_BYTES > 100);
  await world.close();
});

test('subscription: pulled records stay out when the call is over, and are acknowledged by another', async t => {
  const world = await World.open();
  const { offset } = await world.log.log.append(outgoing('orders', block('a', 'b', 'c')));
  const pulled = await world.consume({}, 'shop', 0);
  pulled.consumer.close();
  const { sink } = pulled;
  const { consumer } = await world.subscriptions.pull(wanted(), 'shop', sink, () => undefined);
  consumer.credit(2);
  await sink.until(2);
  consumer.close();
  t.is(await world.subscriptions.acknowledge('jobs', 'other', [{ first: offset, last: offset }], [], NOTHING), 0);
  t.is(await world.subscriptions.acknowledge('jobs', 'shop', [{ first: offset, last: offset }], [], NOTHING), 1);
  t.is(
    await world.subscriptions.acknowledge('jobs', 'shop', [], [{ first: offset + 1, last: offset + 1 }], NOTHING),
    1,
  );
  const again = await world.consume();
  t.deepEqual(await again.sink.until(2), [`${offset + 1}:b#2`, `${offset + 2}:c`]);
  await world.close();
});
