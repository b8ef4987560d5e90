import test from 'ava';
import { LOST_CHANNEL } from '../../../src/durable/types.js';
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
