import test, { type ExecutionContext } from 'ava';
import { FedgateError } from '../../src/errors.js';
import { openStore } from '../../src/store/open.js';
import { Change } from '../../src/store/store.js';
import { verifyStore } from '../../src/store/verify.js';
import { damageRows, withRawRows } from '../support/damage.js';
import { refused } from '../support/reasons.js';
import { opened, storeFolder } from './support.js';

const KEY = (i: number): Buffer => Buffer.from(`key-${i}`);

/** A store with ten rows. */
async function filled(t: ExecutionContext): Promise<string> {
  const folder = await storeFolder(t);
  const store = await openStore(folder, { reserveBytes: 0 });
  const change = new Change();
  for (let i = 0; i < 10; i++) change.put('some', KEY(i), Buffer.alloc(i * 700, `value ${i};`));
  await store.commit(change);
  await store.close();
  return folder;
}

test('damaged row: is never read as if right, its neighbours are', async t => {
  const folder = await filled(t);
  await damageRows(folder, 'some', KEY(4));
  const store = await opened(t, folder);
  const error = await refused(t, 'STORE_DAMAGED', () => store.get('some', KEY(4)));
  t.regex(error.message, /row key-4 of table some is not what was written/);
  const rows = await store.scan('some', { limit: 100 });
  t.deepEqual(
    rows.map(({ damaged }) => damaged),
    Array.from({ length: 10 }, (_, i) => i === 4),
  );
  t.throws(() => rows[4]?.value, { instanceOf: FedgateError, message: /row key-4 of table some/ });
  for (const i of [0, 3, 5, 9]) t.deepEqual(rows[i]?.value, Buffer.alloc(i * 700, `value ${i};`));
  t.true((await store.scan('some', { limit: 100, reverse: true }))[5]?.damaged);

  // It can be written anew, and removed.
  await store.commit(new Change().put('some', KEY(4), Buffer.from('again')));
  t.deepEqual(await store.get('some', KEY(4)), Buffer.from('again'));
});

test('damaged row: every single bit counts', async t => {
  const folder = await filled(t);
  const bits = 8 * (4 + 700);
  await withRawRows(folder, async env => {
    const at = Buffer.concat([Buffer.from('some\0'), KEY(1)]);
    const whole = Buffer.from(env.getBinary(at) ?? []);
    t.is(whole.length * 8, bits);
    for (let bit = 0; bit < bits; bit += 61) {
      const flipped = Buffer.from(whole);
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      await env.put(Buffer.concat([Buffer.from('flipped\0'), Buffer.from(`${bit}`)]), flipped);
    }
    // Right bytes at a wrong place, and too few of them.
    await env.put(Buffer.concat([Buffer.from('flipped\0'), Buffer.from('moved')]), whole);
    await env.put(Buffer.concat([Buffer.from('flipped\0'), Buffer.from('short')]), Buffer.of(1, 2, 3));
  });
  const store = await opened(t, folder);
  const rows = await store.scan('flipped', { limit: 1000 });
  t.is(rows.length, Math.ceil(bits / 61) + 2);
  t.true(rows.every(({ damaged }) => damaged));
});

test('damaged row: verify names table and key', async t => {
  const folder = await filled(t);
  await damageRows(folder, 'some', KEY(0), KEY(7));
  const report = await verifyStore(folder, { bodies: false, verifiers: new Map() });
  t.is(report.bad, 2);
  t.deepEqual(
    report.findings.map(({ table, key, problem }) => `${table} ${key} ${problem}`),
    ['some key-0 the row is not what was written', 'some key-7 the row is not what was written'],
  );
});

test('damaged row: that of the store itself is told in a sentence at the start', async t => {
  const folder = await filled(t);
  await damageRows(folder, '$store', Buffer.from('identity'));
  const error = await refused(t, 'STORE_DAMAGED', () => openStore(folder, { reserveBytes: 0 }));
  t.regex(error.message, /row identity of table \$store/);
});
