import test from 'ava';
import { parsePattern } from '../../../src/messaging/address.js';
import { key } from '../../../src/store/keys.js';
import { ACME, connect, DurableSide, GLOBEX, outgoing, testIdentity } from '../../support/durable-side.js';
import { TestStore } from '../../support/test-store.js';

const forever = new AbortController().signal;

test('damaged row of the log: is a gap up to the next entry, without a channel; its neighbours are read', async t => {
  const acme = await DurableSide.open(await testIdentity(ACME), new TestStore());
  const before = await DurableSide.open(await testIdentity(GLOBEX), new TestStore());
  const outbox = acme.to(GLOBEX);
  const pair = (await connect(acme, before)).automatic();
  await outbox.received(await outbox.append(outgoing('1')), forever);
  await Promise.all(
    (await Promise.all(['2a', '2b', '2c'].map(text => outbox.append(outgoing(text))))).map(at =>
      outbox.received(at, forever),
    ),
  );
  await outbox.received(await outbox.append(outgoing('3')), forever);
  pair.cut();
  const offsets = (await before.store.scan('log', { limit: 10 })).map(row => Number(row.key.readBigUInt64BE(0)));
  t.deepEqual(offsets, [1, 2, 5]);
  await before.close();
  const globex = await DurableSide.open(await testIdentity(GLOBEX), await before.store.kill());
  globex.store.damageRow('log', key(2));
  const { entries } = await globex.inbox.read(0, parsePattern('**'), 100);
  t.deepEqual(
    entries.map(({ offset, count, gap }) => [offset, count, gap !== undefined]),
    [
      [1, 1, false],
      [2, 3, true],
      [5, 1, false],
    ],
  );
  t.is(entries[1]?.channel, '');
  // It has no time to go by, and hides nothing that does.
  t.is(await globex.inbox.offsetAt(1), 1);
});
