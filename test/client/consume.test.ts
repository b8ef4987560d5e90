import { setImmediate as turn } from 'node:timers/promises';
import test from 'ava';
import { type DurableEvent, type DurableMessage, type DurableNotice, FedgateError } from '../../src/client/index.js';
import { FakeGateway } from '../support/fake-gateway.js';

const texts = (messages: readonly DurableMessage[]): string[] => messages.map(message => message.text);

/** Takes so many from an iteration that goes on. */
async function take<T>(iterator: AsyncIterator<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { value, done } = await iterator.next();
    if (done) throw new Error(`it ended after ${taken.length}`);
    taken.push(value);
  }
  return taken;
}

test('consume: the first frame says what the subscription is, and the message where it stands', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders/**', {
    durable: 'billing',
    from: { time: new Date(5_000) },
    group: true,
    ackWaitMs: 1_000,
    maxDeliveries: 3,
  });
  t.deepEqual(await subscription.opened, { gateway: 'gw1', offset: 7, created: true });
  const consumer = await gateway.consumer();
  t.deepEqual(consumer.spec, {
    name: 'billing',
    pattern: 'orders/**',
    from: { at: { $case: 'timeMs', value: 5_000n } },
    group: true,
    ackWaitMs: 1_000,
    maxDeliveries: 3,
  });
  consumer.deliver(41, ['a', 'b'], 2);
  const [first, second] = await take(subscription[Symbol.asyncIterator](), 2);
  t.like(first, { text: 'a', offset: 41, deliveryCount: 2, redelivered: true, channel: 'orders', senderNode: 'shop' });
  t.like(second, { text: 'b', offset: 42, storedTime: new Date(1_700_000_000_000) });
});

test('consume: options that cannot be are refused at once', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  for (const options of [{ credit: 0 }, { credit: 1.5 }, { ackWaitMs: -1 }, { from: { offset: -1 } }]) {
    const error = t.throws<FedgateError>(() => client.subscribe('x', { durable: 'd', ...options }));
    t.is(error?.reason, 'FIELD_INVALID');
  }
});

test('ack: those of one turn are one frame of ranges, and resolve when they are settled', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  consumer.settles = false;
  consumer.deliver(10, ['a', 'b', 'c', 'd', 'e']);
  const messages = await take(subscription[Symbol.asyncIterator](), 5);
  let settled = false;
  const acks = [3, 0, 2, 0].map(i => messages[i]?.ack());
  void Promise.all(acks).then(() => {
    settled = true;
  });
  await consumer.until(() => consumer.acks.length > 0);
  t.deepEqual(consumer.acks, [
    [
      [10, 10],
      [12, 13],
    ],
  ]);
  await turn();
  t.false(settled);
  consumer.settle();
  await Promise.all(acks);
  t.is(consumer.acks.length, 1);
});

test('ack: a batch is one range, without what was settled by itself being counted twice', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd', credit: 4 });
  const consumer = await gateway.consumer();
  await consumer.until(() => consumer.credit === 4);
  consumer.deliver(10, ['a', 'b', 'c', 'd']);
  const [batch] = await take(subscription.batches()[Symbol.asyncIterator](), 1);
  t.like(batch, { offset: 10, count: 4, channel: 'orders', senderOrg: 'GLOBEX', deliveryCount: 1 });
  for (const message of batch ?? []) if (message.text === 'b') await message.ack();
  await batch?.ack();
  await consumer.until(() => consumer.credit === 8);
  t.deepEqual(consumer.acks, [[[11, 11]], [[10, 13]]]);
});

test('nack: says how long to wait, why, and whether it is over; inProgress that it is not', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  consumer.deliver(1, ['a', 'b', 'c', 'd']);
  const [a, b, c, d] = await take(subscription[Symbol.asyncIterator](), 4);
  const nacks = [a, b].map(message => message?.nack({ delayMs: 50, reason: 'busy' }));
  d?.inProgress();
  await Promise.all([...nacks, c?.nack({ deadLetter: true })]);
  t.deepEqual(consumer.nacks, [
    { ranges: [[1, 2]], delayMs: 50, reason: 'busy', deadLetter: false },
    { ranges: [[3, 3]], delayMs: 0, reason: '', deadLetter: true },
  ]);
  t.deepEqual(consumer.inProgress, [[[4, 4]]]);
});

test('credit: no more are out than allowed, and each comes back when its message is settled', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd', credit: 2 });
  const consumer = await gateway.consumer();
  await consumer.until(() => consumer.credit === 2);
  consumer.deliver(1, ['a']);
  consumer.deliver(2, ['b']);
  const [a, b] = await take(subscription[Symbol.asyncIterator](), 2);
  b?.inProgress();
  await consumer.until(() => consumer.inProgress.length === 1);
  t.is(consumer.credit, 2, 'what is taken and not settled is out');
  await a?.ack();
  await consumer.until(() => consumer.credit === 3);
  await a?.ack();
  await b?.nack();
  await consumer.until(() => consumer.credit === 4);
  t.is(consumer.credit, 4, 'acknowledged twice is settled once');
});

test('limit: no more are allowed in all, however many are settled', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd', credit: 2, limit: 3 });
  const consumer = await gateway.consumer();
  await consumer.until(() => consumer.credit === 2);
  consumer.deliver(1, ['a', 'b']);
  const iterator = subscription[Symbol.asyncIterator]();
  for (const message of await take(iterator, 2)) await message.ack();
  await consumer.until(() => consumer.credit === 3);
  consumer.deliver(3, ['c']);
  const { value } = await iterator.next();
  await value?.ack();
  t.is(consumer.credit, 3);
  for (const limit of [0, 1.5])
    t.throws(() => client.subscribe('x', { durable: 'e', limit }), {
      message: /^limit: must be a whole number from 1/,
    });
});

test('credit: what is delivered again or given up is not out twice, though nobody settled it', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd', credit: 2 });
  const consumer = await gateway.consumer();
  await consumer.until(() => consumer.credit === 2);
  consumer.deliver(1, ['a', 'b']);
  consumer.notice({ $case: 'deadLettered', value: { range: { first: 2n, last: 2n }, channel: 'orders', reason: 'x' } });
  const iterator = subscription[Symbol.asyncIterator]();
  await take(iterator, 2);
  // Each of the three is one delivery that took a credit, and one that gave its own back.
  for (let count = 2; count <= 4; count++) {
    await consumer.until(() => consumer.credit >= count + 1);
    consumer.deliver(1, ['a'], count);
    await take(iterator, 1);
  }
  await consumer.until(() => consumer.credit - consumer.delivered === 1);
  t.pass();
});

test('credit: a loop that does not take stops the gateway before much waits in the process', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd', credit: 1_000_000 });
  const consumer = await gateway.consumer();
  const megabyte = Buffer.alloc(1024 * 1024 - 64);
  await consumer.until(() => consumer.credit > 0);
  t.true(consumer.credit <= 4_096);
  for (let i = 0; i < 4; i++) consumer.deliver(i, [megabyte]);
  // Small ones are allowed on a guess; from the first large one on, only what fits.
  const allowed = consumer.credit;
  const iterator = subscription[Symbol.asyncIterator]();
  const [first] = await take(iterator, 1);
  await first?.ack();
  t.is(consumer.credit, allowed, 'nothing more is allowed while the buffer is full and much was allowed');
});

test('ack: waiting for it works even while more than the buffer holds stands before the answer', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  const payload = Buffer.alloc(512 * 1024);
  for (let i = 0; i < 40; i++) consumer.deliver(i, [payload]);
  let seen = 0;
  for await (const message of subscription) {
    await message.ack();
    if (++seen === 40) break;
  }
  t.is(seen, 40);
});

test('consume: goes on by itself when the connection breaks, without what waits and with what comes again', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const iterator = subscription[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.deliver(1, ['a', 'b']);
  first.deliver(3, ['c']);
  t.deepEqual(texts(await take(iterator, 2)), ['a', 'b']);
  first.end();
  const second = await gateway.consumer();
  second.deliver(1, ['a', 'b', 'c'], 2);
  t.deepEqual(texts(await take(iterator, 3)), ['a', 'b', 'c']);
});

test('ack: one that a break left open is carried on, and its record is not handed out again', async t => {
  const gateway = await FakeGateway.start(t);
  gateway.openedAt = 1;
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const iterator = subscription[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.settles = false;
  first.deliver(1, ['a', 'b', 'c', 'd']);
  const [, b, c] = await take(iterator, 3);
  const early = b?.ack();
  await first.until(() => first.acks.length === 1);
  first.end();
  // Given after the break, before and after its record came again.
  const late = c?.ack();
  const second = await gateway.consumer();
  second.deliver(1, ['a', 'b', 'c', 'd'], 2);
  await Promise.all([early, late]);
  t.deepEqual(second.acks.flat(), [[2, 3]]);
  t.deepEqual(texts(await take(iterator, 2)), ['a', 'd']);
});

test('ack: one that counted before the break resolves when the next stream begins behind it', async t => {
  const gateway = await FakeGateway.start(t);
  gateway.openedAt = 1;
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const iterator = subscription[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.settles = false;
  first.deliver(1, ['a']);
  const [a] = await take(iterator, 1);
  const ack = a?.ack();
  await first.until(() => first.acks.length === 1);
  gateway.openedAt = 2;
  first.end();
  await ack;
  t.pass();
});

test('ack: survives one break after the other; one after another break of a record that is out again counts for it', async t => {
  const gateway = await FakeGateway.start(t);
  gateway.openedAt = 1;
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const iterator = subscription[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.settles = false;
  first.deliver(1, ['a', 'b']);
  const [a, b] = await take(iterator, 2);
  const ack = a?.ack();
  await first.until(() => first.acks.length === 1);
  first.end();
  const second = await gateway.consumer();
  second.settles = false;
  second.deliver(1, ['a', 'b'], 2);
  await second.until(() => second.acks.length === 1);
  second.end();
  const third = await gateway.consumer();
  third.deliver(1, ['a', 'b'], 3);
  await ack;
  await b?.ack();
  third.deliver(3, ['c']);
  t.deepEqual(texts(await take(iterator, 1)), ['c']);
});

test('consume: a gateway that restarts is found again', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  await gateway.consumer();
  await gateway.stop();
  await gateway.restart();
  (await gateway.consumer()).deliver(1, ['a']);
  t.deepEqual(texts(await take(subscription[Symbol.asyncIterator](), 1)), ['a']);
});

test('consume: waits while another node consumes it; other refusals end the iteration', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  let disconnected = 0;
  client.on('disconnected', () => disconnected++);
  const subscription = client.subscribe('orders', { durable: 'd' });
  for (let i = 0; i < 3; i++) (await gateway.consumer()).end(new FedgateError('SUBSCRIPTION_BUSY', 'busy'));
  const iterator = subscription[Symbol.asyncIterator]();
  const consumer = await gateway.consumer();
  consumer.deliver(1, ['a']);
  t.deepEqual(texts(await take(iterator, 1)), ['a']);
  consumer.end(new FedgateError('SUBSCRIPTION_TAKEN', 'taken'));
  t.is((await t.throwsAsync<FedgateError>(iterator.next()))?.reason, 'SUBSCRIPTION_TAKEN');
  t.is(disconnected, 0);
});

test('consume: a refusal before it was opened is what `opened` rejects with', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  (await gateway.consumer()).end(new FedgateError('SUBSCRIPTION_MISMATCH', 'another'));
  const iterator = subscription[Symbol.asyncIterator]();
  t.is((await t.throwsAsync<FedgateError>(iterator.next()))?.reason, 'SUBSCRIPTION_MISMATCH');
});

test('notices: come at their place among the messages, and survive a broken connection', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const range = { first: 2n, last: 4n };
  const seen: (string | DurableNotice)[] = [];
  const heard = client.subscribe('orders', { durable: 'd', onNotice: notice => seen.push(notice) });
  const consumer = await gateway.consumer();
  consumer.deliver(1, ['a']);
  consumer.notice({ $case: 'gap', value: { range, channel: '', senderOrg: 'GLOBEX', records: 0n, reason: 'lost' } });
  consumer.deliver(5, ['b']);
  for await (const { text } of heard) {
    seen.push(text);
    if (text === 'b') break;
  }
  const gap = { kind: 'gap', first: 2, last: 4, channel: '', senderOrg: 'GLOBEX', records: undefined, reason: 'lost' };
  t.deepEqual(seen, ['a', gap as DurableNotice, 'b']);

  const events = client.subscribe('orders', { durable: 'e' }).events()[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.deliver(1, ['a']);
  first.notice({ $case: 'expired', value: { range, channel: 'orders', senderOrg: 'GLOBEX', records: 3n } });
  await take(events, 1);
  first.deliver(5, ['dropped']);
  first.end();
  const second = await gateway.consumer();
  second.deliver(5, ['c'], 2);
  const [notice, message] = (await take(events, 2)) as [DurableEvent, DurableEvent];
  const expired = { kind: 'expired', first: 2, last: 4, channel: 'orders', senderOrg: 'GLOBEX', records: 3 };
  t.deepEqual(notice.notice, expired as DurableNotice);
  t.is(message.message?.text, 'c');
});

test('close: leaving the loop has what was acknowledged settled, then ends', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  consumer.settles = false;
  consumer.deliver(1, ['a', 'b']);
  let ack: Promise<void> | undefined;
  let kept: DurableMessage | undefined;
  for await (const message of subscription) {
    ack = message.ack();
    kept = message;
    break;
  }
  await consumer.until(() => consumer.halfClosed);
  t.deepEqual(consumer.acks, [[[1, 1]]]);
  t.is((await t.throwsAsync<FedgateError>(kept?.ack() ?? Promise.resolve()))?.reason, 'CANCELLED');
  consumer.settle();
  consumer.finish();
  await t.notThrowsAsync(ack ?? Promise.reject(new Error('no message')));
  await subscription.drain();
});

test('drain: of the client waits for acknowledgements of all subscriptions', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  consumer.settles = false;
  consumer.deliver(1, ['a']);
  const iterator = subscription[Symbol.asyncIterator]();
  const [message] = await take(iterator, 1);
  const ack = message?.ack();
  const drained = client.drain();
  await consumer.until(() => consumer.acks.length === 1);
  t.false(consumer.halfClosed, 'acknowledgements may still come');
  consumer.settles = true;
  consumer.settle();
  await ack;
  await drained;
  t.true((await iterator.next()).done);
});

test('close: of the client ends the iteration, and leaves acknowledgements unknown', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const subscription = client.subscribe('orders', { durable: 'd' });
  const consumer = await gateway.consumer();
  consumer.settles = false;
  consumer.deliver(1, ['a']);
  const iterator = subscription[Symbol.asyncIterator]();
  const [message] = await take(iterator, 1);
  const ack = message?.ack();
  client.close();
  t.is((await t.throwsAsync<FedgateError>(ack ?? Promise.resolve()))?.reason, 'OUTCOME_UNKNOWN');
  t.true((await iterator.next()).done);
  await consumer.until(() => consumer.cancelled);
});

test('signal: ends the iteration without an error, before and while it runs', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const controller = new AbortController();
  const subscription = client.subscribe('orders', { durable: 'd', signal: controller.signal });
  const consumer = await gateway.consumer();
  const next = subscription[Symbol.asyncIterator]().next();
  controller.abort();
  t.true((await next).done);
  await consumer.until(() => consumer.halfClosed);
  const late = client.subscribe('orders', { durable: 'd', signal: controller.signal });
  t.true((await late[Symbol.asyncIterator]().next()).done);
  t.is((await t.throwsAsync<FedgateError>(late.opened))?.reason, 'CANCELLED');
  await late.drain();
});

test('ack: nobody has to look at what became of one', async t => {
  const gateway = await FakeGateway.start(t);
  const client = await gateway.connect(t);
  const unhandled: unknown[] = [];
  const listener = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', listener);
  t.teardown(() => process.off('unhandledRejection', listener));
  const subscription = client.subscribe('orders', { durable: 'd' });
  const iterator = subscription[Symbol.asyncIterator]();
  const first = await gateway.consumer();
  first.settles = false;
  first.deliver(1, ['a', 'b']);
  const [a, b] = await take(iterator, 2);
  void a?.ack();
  await first.until(() => first.acks.length === 1);
  first.end();
  await gateway.consumer();
  void b?.nack();
  void client.publish('x', 'y');
  client.close();
  void b?.ack();
  for (let i = 0; i < 5; i++) await turn();
  t.deepEqual(unhandled, []);
});
