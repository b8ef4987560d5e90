import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import type { StreamNotice } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { decodeStreamRow } from '../../../src/durable/outbox/rows.js';
import { LOST_CHANNEL, type StreamPosition } from '../../../src/durable/types.js';
import { key } from '../../../src/store/keys.js';
import { Change } from '../../../src/store/store.js';
import { ACME, connect, DurableSide, GLOBEX, outgoing, testIdentity } from '../../support/durable-side.js';
import { refused } from '../../support/reasons.js';
import { TestStore } from '../../support/test-store.js';

const forever = new AbortController().signal;

/** ACME, started again with three batches that wait for GLOBEX, the row of the second damaged. */
async function withDamage() {
  const store = new TestStore();
  const before = await DurableSide.open(await testIdentity(ACME), store);
  for (const text of ['1', '2', '3']) await before.to(GLOBEX).append(outgoing(text));
  await before.close();
  const acme = await DurableSide.open(await testIdentity(ACME), await store.kill());
  await damage(acme, 2);
  const globex = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  return { acme, globex, outbox: acme.to(GLOBEX) };
}

/** RECEIVED is answered a moment before the receipt is stored. */
async function receiptStored(outbox: { readonly unreceipted: StreamPosition }, sequence: number): Promise<void> {
  while (outbox.unreceipted.sequence <= sequence) await setTimeout(1);
}

async function damage({ store }: DurableSide<TestStore>, sequence: number): Promise<void> {
  const rows = await store.scan('outbox', { limit: 100 });
  const row = rows.find(({ key }) => Number(key.readBigUInt64BE(key.length - 8)) === sequence);
  if (row) store.damageRow('outbox', row.key);
}

test('damaged row of a batch that waits: is a gap to the receiver, the link lives, its neighbours arrive', async t => {
  const { acme, globex, outbox } = await withDamage();
  const epoch = outbox.newestEpoch;
  const waits = refused(t, 'BODY_UNREADABLE', () => outbox.received({ epoch, sequence: 2 }, forever));
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  await outbox.received({ epoch, sequence: 3 }, forever);
  await waits;
  t.deepEqual(
    (await globex.lines()).map(({ channel, text, gap }) => (gap ? `gap '${channel}'` : text)),
    ['1', "gap ''", '3'],
  );
  const later = await outbox.append(outgoing('4'));
  await outbox.received(later, forever);
  t.deepEqual({ ...outbox.waiting }, { batches: 0, records: 0, bytes: 0, oldestMs: 0 });
  t.true(acme.events.some(event => event.kind === 'withheld' && event.why === 'lost' && event.batches === 1));
});

test('damaged row of a batch that waits: is listed, and purged as one that is lost', async t => {
  const { outbox } = await withDamage();
  const listed = await outbox.head(10);
  t.deepEqual(
    listed.map(({ channel, withheld }) => channel === LOST_CHANNEL && withheld),
    [false, 'lost', false],
  );
  t.deepEqual(await outbox.purge(), { batches: 3, records: 2 });
  t.deepEqual(
    (await outbox.head(10)).map(({ withheld }) => withheld),
    ['purged', 'lost', 'purged'],
  );
});

test('damaged row of a batch that has a receipt: cannot be fetched again, is dropped and told', async t => {
  const acme = await DurableSide.open(await testIdentity(ACME), new TestStore());
  const globex = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  for (const text of ['1', '2']) await outbox.received(await outbox.append(outgoing(text)), forever);
  await damage(acme, 1);
  t.is(await outbox.refetch({ epoch: outbox.newestEpoch, sequence: 1 }), undefined);
  t.truthy(await outbox.refetch({ epoch: outbox.newestEpoch, sequence: 2 }));
  await acme.outboxes.sweep();
  t.true(acme.events.some(event => event.kind === 'damaged' && event.sequence === 1));
  t.is((await acme.store.scan('outbox', { limit: 10 })).length, 1);
});

const bodiesIn = async (store: TestStore): Promise<number> =>
  [...store.disk.bodies.keys()].filter(name => name.startsWith('outbox-GLOBEX/')).length;
const keptBytes = async (store: TestStore): Promise<number> =>
  decodeStreamRow((await store.get('stream', key(GLOBEX))) ?? Buffer.alloc(0)).keptBytes;

test('damaged row of a batch that has a receipt: what is kept is counted anew, and its body goes with those before it', async t => {
  let now = Date.now();
  const options = { now: () => now };
  const acme = await DurableSide.open(await testIdentity(ACME), new TestStore(), options);
  const globex = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  const send = async (text: string): Promise<void> => {
    await outbox.received(await outbox.append(outgoing(text)), forever);
    await receiptStored(outbox, Number(text));
  };
  for (const text of ['1', '2', '3', '4']) await send(text);
  const each = (await keptBytes(acme.store)) / 4;
  for (const sequence of [1, 3]) await damage(acme, sequence);
  // Only the first goes: nothing else is old. What the other one holds is not known any more.
  await acme.outboxes.sweep();
  t.is(await keptBytes(acme.store), 2 * each);
  t.is(await bodiesIn(acme.store), 3);
  now += 3 * 86_400_000;
  await send('5');
  now += 5 * 86_400_000;
  await acme.outboxes.sweep();
  t.is(await keptBytes(acme.store), each);
  t.is(await bodiesIn(acme.store), 1);
  await damage(acme, 5);
  await acme.outboxes.sweep();
  t.is(await keptBytes(acme.store), 0);
  t.is(await bodiesIn(acme.store), 0);
  await send('6');
  t.is(await bodiesIn(acme.store), 1);
});

test('damaged row of a batch that has a receipt: no more is forgotten for it than the bytes allow', async t => {
  const limits = { outboxBytes: 1_000_000, keepSentMs: 1_000_000, keepSentBytes: 1_000_000 };
  const acme = await DurableSide.open(await testIdentity(ACME), new TestStore(), { limits });
  const globex = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, globex)).automatic();
  t.teardown(() => pair.cut());
  for (const text of ['1', '2', '3']) await outbox.received(await outbox.append(outgoing(text)), forever);
  await receiptStored(outbox, 3);
  await damage(acme, 1);
  limits.keepSentBytes = ((await keptBytes(acme.store)) * 2) / 3;
  await acme.outboxes.sweep();
  t.is((await acme.store.scan('outbox', { limit: 10 })).length, 2);
});

const consumed = (sequence: number): StreamNotice => ({
  event: { $case: 'consumed', value: { streamEpoch: 1n, sequence: BigInt(sequence), subscription: 's' } },
});

/** ACME, started again with so many notices that wait to be told to GLOBEX, some of their rows damaged. */
async function withNotices(count: number, damaged: readonly number[]): Promise<DurableSide<TestStore>> {
  const store = new TestStore();
  const before = await DurableSide.open(await testIdentity(ACME), store);
  const change = new Change();
  for (let i = 0; i < count; i++) before.to(GLOBEX).appendNotice(change, consumed(i));
  await store.commit(change);
  const killed = await store.kill();
  const rows = await killed.scan('notice', { limit: count });
  for (const i of damaged) if (rows[i]) killed.damageRow('notice', rows[i].key);
  return DurableSide.open(await testIdentity(ACME), killed);
}

test('damaged row of a notice: is skipped and told, and those beside it are sent', async t => {
  const acme = await withNotices(3, [1]);
  t.teardown(() => acme.close());
  const outbox = acme.to(GLOBEX);
  while (outbox.waiting.batches === 0) await new Promise(resolve => setImmediate(resolve));
  t.is(outbox.waiting.records, 2);
  t.deepEqual(await acme.store.scan('notice', { limit: 10 }), []);
  t.deepEqual(
    acme.events.map(({ kind }) => kind),
    ['damaged-notice'],
  );
});

test('damaged row of a notice: when all are, nothing is sent, and later ones are', async t => {
  const acme = await withNotices(2, [0, 1]);
  t.teardown(() => acme.close());
  const outbox = acme.to(GLOBEX);
  const rows = () => acme.store.scan('notice', { limit: 10 });
  while ((await rows()).length > 0) await new Promise(resolve => setImmediate(resolve));
  t.is(outbox.waiting.batches, 0);
  const change = new Change();
  outbox.appendNotice(change, consumed(3));
  await acme.store.commit(change);
  while (outbox.waiting.batches === 0) await new Promise(resolve => setImmediate(resolve));
  t.is(outbox.waiting.records, 1);
});
