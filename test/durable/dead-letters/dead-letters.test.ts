import test from 'ava';
import {
  type DeadLetterEvent,
  DeadLetters,
  type RedriveTargets,
} from '../../../src/durable/dead-letters/dead-letters.js';
import type { SentBatch } from '../../../src/durable/types.js';
import { FedgateError } from '../../../src/errors.js';
import type { OrgName } from '../../../src/identity/names.js';
import { Change } from '../../../src/store/store.js';
import { block, outgoing, received } from '../../support/inbox.js';
import { MemoryStore } from '../../support/memory-store.js';
import { World } from '../subscriptions/world.js';

const ALL = { ids: [], direction: undefined, subscription: '', org: '' };
const NACK = { delayMs: 0, reason: 'no', deadLetter: true, ackId: 0n };
const GLOBEX = 'GLOBEX' as OrgName;
const BATCH: SentBatch = {
  org: GLOBEX,
  epoch: 3n,
  sequence: 9,
  channel: 'orders',
  senderNode: 'shop',
  recordCount: 2,
  bytes: 10,
  storedMs: 1,
  expireMs: 0,
  notifyConsumed: false,
  withheld: undefined,
};
const NOTICE = {
  streamEpoch: 3n,
  sequence: 9n,
  record: 1,
  subscription: 'theirs',
  reason: 'cannot be read',
  deliveries: 4,
  channel: 'orders',
  senderNode: 'shop',
};
const nowhere: RedriveTargets = { deliver: () => false, send: () => Promise.reject(new Error('nothing is sent')) };

async function open(store = new MemoryStore(), events: DeadLetterEvent[] = [], letters = 100) {
  return DeadLetters.open({
    store,
    now: () => 1_000,
    limits: { letters, bytes: 1_000_000, redriven: 100 },
    refetch: async () => block('first', 'second'),
    onEvent: event => void events.push(event),
  });
}

/** A world in which one subscription gave up `a` and `b`. */
async function withTwo(): Promise<World> {
  const world = await World.open();
  await world.log.log.append(outgoing('orders', block('a', 'b', 'c')));
  const { sink, consumer } = await world.consume();
  const offset = Number((await sink.until(3))[0]?.split(':')[0]);
  consumer.nack([{ first: offset, last: offset + 1 }], NACK);
  await sink.until(4);
  consumer.close();
  return world;
}

test('dead letters: incoming are delivered to their subscription again, the count reset, and go when acknowledged', async t => {
  const world = await withTwo();
  const { deadLetters, subscriptions } = world;
  const targets = {
    ...nowhere,
    deliver: (letter: Parameters<RedriveTargets['deliver']>[0]) => subscriptions.redrive(letter),
  };
  t.deepEqual(await deadLetters.redrive({ ...ALL, direction: 'incoming' }, targets), { redriven: 2, skipped: 0 });
  t.deepEqual(await deadLetters.list(ALL, 0, 10), []);
  t.is(deadLetters.total, 0);
  const opened = await world.consume();
  const lines = await opened.sink.until(3);
  t.deepEqual(lines.map(line => line.split(':')[1]).sort(), ['a', 'b', 'c#2']);
  const offset = Number(lines.find(line => line.endsWith(':a'))?.split(':')[0]);
  opened.consumer.ack([{ first: offset, last: offset }], 1n);
  await opened.sink.until(4);
  // What is not acknowledged is delivered again after a restart; what was is gone.
  const again = await world.crash();
  const next = await again.consume();
  t.deepEqual((await next.sink.until(2)).map(line => line.split(':')[1]?.[0]).sort(), ['b', 'c']);
  await again.close();
});

test('dead letters: one that is given up again is one again', async t => {
  const world = await withTwo();
  const { deadLetters, subscriptions } = world;
  const [first] = await deadLetters.list(ALL, 0, 1);
  const targets = {
    ...nowhere,
    deliver: (letter: Parameters<RedriveTargets['deliver']>[0]) => subscriptions.redrive(letter),
  };
  const opened = await world.consume();
  await deadLetters.redrive({ ...ALL, ids: [first?.id ?? 0] }, targets);
  const lines = await opened.sink.until(2);
  const offset = Number(lines.find(line => line.endsWith(':a'))?.split(':')[0]);
  opened.consumer.nack([{ first: offset, last: offset }], { ...NACK, reason: 'still no' });
  await opened.sink.until(3);
  t.is(deadLetters.total, 2);
  t.like((await deadLetters.get(first?.id ?? 0)).letter, { reason: 'still no', deliveries: 1 });
  await world.close();
});

test('dead letters: of a subscription that is gone stay where they are', async t => {
  const world = await withTwo();
  const { deadLetters, subscriptions } = world;
  await subscriptions.delete('jobs');
  const deliver: RedriveTargets['deliver'] = letter => subscriptions.redrive(letter);
  t.deepEqual(await deadLetters.redrive(ALL, { ...nowhere, deliver }), { redriven: 0, skipped: 2 });
  t.is(deadLetters.total, 2);
  await world.close();
});

test('dead letters: being redriven when their subscription is deleted, they come back', async t => {
  const world = await withTwo();
  const { deadLetters, subscriptions } = world;
  await deadLetters.redrive(ALL, { ...nowhere, deliver: letter => subscriptions.redrive(letter) });
  t.is(deadLetters.total, 0);
  await subscriptions.delete('jobs');
  t.is(deadLetters.total, 2);
  t.is((await deadLetters.list(ALL, 0, 10)).length, 2);
  await world.close();
});

test('dead letters: a batch that was refused is kept, and sent again', async t => {
  const store = new MemoryStore();
  const letters = await open(store);
  const change = new Change();
  letters.refused(change, BATCH, block('a', 'b'), new FedgateError('NOT_GRANTED', 'not here'));
  await store.commit(change);
  const [letter] = await letters.list({ ...ALL, direction: 'outgoing', org: 'GLOBEX' }, 0, 10);
  t.like(letter, { org: GLOBEX, records: 2, reason: 'NOT_GRANTED: not here', subscription: '' });
  const sent: unknown[] = [];
  const send: RedriveTargets['send'] = async (org, records) => void sent.push([org, records.channel, records.records]);
  t.deepEqual(await letters.redrive(ALL, { ...nowhere, send }), { redriven: 1, skipped: 0 });
  t.deepEqual(sent, [[GLOBEX, 'orders', block('a', 'b')]]);
  t.is(letters.total, 0);
  t.deepEqual(await letters.list(ALL, 0, 10), []);
  await letters.close();
});

test('dead letters: what another organisation gave up is fetched out of the outbox', async t => {
  const store = new MemoryStore();
  const events: DeadLetterEvent[] = [];
  const letters = await open(store, events);
  const change = new Change();
  letters.gaveUp(change, GLOBEX, NOTICE);
  await store.commit(change);
  const id = (await letters.list(ALL, 0, 1))[0]?.id ?? 0;
  t.like((await letters.get(id)).letter, { subscription: 'theirs', deliveries: 4, records: 1 });
  let found = await letters.get(id);
  while (!found.records) {
    await new Promise(resolve => setImmediate(resolve));
    found = await letters.get(id);
  }
  t.deepEqual(found.records, block('second'));
  t.is(letters.countOf('theirs'), 0);
  await letters.close();
});

test('dead letters: pages, filters, drop, and a restart', async t => {
  const store = new MemoryStore();
  const letters = await open(store);
  for (let i = 0; i < 5; i++) {
    const change = new Change();
    letters.refused(change, { ...BATCH, sequence: i }, block('a', 'b'), new FedgateError('NOT_GRANTED', 'not here'));
    await store.commit(change);
  }
  t.deepEqual(
    (await letters.list(ALL, 2, 2)).map(({ id }) => id),
    [3, 4],
  );
  t.deepEqual(await letters.list({ ...ALL, direction: 'incoming' }, 0, 10), []);
  t.is(await letters.drop({ ...ALL, ids: [1, 1, 77] }), 1);
  t.is((await t.throwsAsync(letters.get(1), { instanceOf: FedgateError }))?.reason, 'DEAD_LETTER_UNKNOWN');
  const again = await open(new MemoryStore(store.disk));
  t.is(again.total, 4);
  const change = new Change();
  again.refused(change, BATCH, undefined, new FedgateError('NOT_GRANTED', 'not here'));
  await store.commit(change);
  t.is(await again.drop(ALL), 5);
  t.is(store.disk.bodies.size, 0);
  await again.close();
  await letters.close();
});

test('dead letters: the oldest go when there are too many', async t => {
  const store = new MemoryStore();
  let tell: () => void = () => undefined;
  const told = new Promise<void>(resolve => {
    tell = resolve;
  });
  const letters = await DeadLetters.open({
    store,
    now: () => 1,
    limits: { letters: 3, bytes: 1_000, redriven: 1 },
    refetch: async () => undefined,
    onEvent: () => tell(),
  });
  for (let i = 0; i < 8; i++) {
    const change = new Change();
    letters.refused(change, { ...BATCH, sequence: i }, block('a'), new FedgateError('NOT_GRANTED', 'not here'));
    await store.commit(change);
  }
  await told;
  while (letters.total > 3) await new Promise(resolve => setImmediate(resolve));
  t.deepEqual(
    (await letters.list(ALL, 0, 10)).map(({ sequence }) => sequence),
    [5, 6, 7],
  );
  t.is(store.disk.bodies.size, 3);
  await letters.close();
});

test('dead letters: a change that is not committed is not counted', async t => {
  const world = await World.open();
  await world.log.log.receive(received(1));
  const [entry] = await world.log.all();
  if (!entry) return t.fail();
  const given = { subscription: 'jobs', entry, offset: entry.offset, reason: 'no', deliveries: 1, record: block('a') };
  const outcome = world.deadLetters.add(new Change(), given);
  outcome(false);
  t.is(world.deadLetters.total, 0);
  await world.close();
});
