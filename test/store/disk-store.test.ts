import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { StoreIdentity } from '../../gen/ts/fedgate/store/v1/store.js';
import { checkedRow, withChecksum } from '../../src/store/checked-row.js';
import { openStore } from '../../src/store/open.js';
import { bodyKey, isRow, numberAfter, rowRef } from '../../src/store/row-bodies.js';
import { Change } from '../../src/store/store.js';
import { verifyStore } from '../../src/store/verify.js';
import { damageRows, withRawRows } from '../support/damage.js';
import { refused } from '../support/reasons.js';
import { storeContract } from './contract.js';
import { bodyOf, opened, sha256, storeBody, storeFolder, writeBody } from './support.js';

storeContract(test, async t => opened(t, await storeFolder(t), { segmentBytes: 200_000 }));

test('open: finds all again, in a new segment for what comes', async t => {
  const folder = await storeFolder(t);
  const first = await opened(t, folder);
  const body = bodyOf(1, 5000);
  const change = new Change().put('rows', Buffer.from('a'), Buffer.from('1'));
  const ref = writeBody(first, change, 'inbox', body);
  await first.commit(change);
  await first.close();
  const second = await opened(t, folder);
  t.deepEqual(second.id, first.id);
  t.is(second.id.length, 16);
  t.is(second.restoredMs, 0);
  t.deepEqual(await second.get('rows', Buffer.from('a')), Buffer.from('1'));
  t.true((await second.read(ref, sha256(body))).equals(body));
  const later = await storeBody(second, 'inbox', body);
  t.true(later.segment > ref.segment);
  t.is((await second.stats()).bodyBytes.get('inbox'), 10_000);
});

storeContract(
  Object.assign((title: string, ...rest: [never]) => test(`without bodies that are rows: ${title}`, ...rest), test),
  async t => opened(t, await storeFolder(t), { segmentBytes: 200_000, rowBodyBytes: -1 }),
);

const bodyRows = async (folder: string): Promise<number> =>
  (await verifyStore(folder, { bodies: false, verifiers: new Map() })).rows;

test('small bodies: are rows of their own, in no file, gone with their release', async t => {
  const folder = await storeFolder(t);
  const store = await opened(t, folder);
  const empty = await bodyRows(folder);
  const small = await storeBody(store, 'inbox', bodyOf(1, 1536));
  const large = await storeBody(store, 'inbox', bodyOf(2, 1537));
  t.true(isRow(small));
  t.false(isRow(large));
  t.deepEqual(await readdir(join(folder, 'bodies', 'inbox')), [`${large.segment}.seg`]);
  // The body, and what is in use of either kind.
  t.is(await bodyRows(folder), empty + 3);
  t.is((await store.stats()).bodyBytes.get('inbox'), 1536 + 1537);
  await store.close();
  const again = await opened(t, folder);
  t.true((await again.read(small, sha256(bodyOf(1, 1536)))).equals(bodyOf(1, 1536)));
  const next = await storeBody(again, 'inbox', bodyOf(3, 10));
  t.notDeepEqual(bodyKey(next), bodyKey(small));
  await again.commit(new Change().release(small).release(large).release(next));
  t.is(await bodyRows(folder), empty);
  await refused(t, 'BODY_UNREADABLE', () => again.read(small, sha256(bodyOf(1, 1536))));
});

test('small bodies: a damaged row is refused, and verify names what refers to it', async t => {
  const folder = await storeFolder(t);
  const store = await openStore(folder, { reserveBytes: 0 });
  const [good, bad, gone] = [
    await storeBody(store, 'inbox', bodyOf(1, 100)),
    await storeBody(store, 'inbox', bodyOf(2, 100)),
    rowRef('inbox', 99, 100),
  ];
  const rows = new Change();
  for (const [i] of [good, bad, gone].entries()) rows.put('rows', Buffer.of(i), Buffer.alloc(0));
  await store.commit(rows);
  await store.close();
  await damageRows(folder, '$body', bodyKey(bad));
  const again = await opened(t, folder);
  t.is((await again.read(good, sha256(bodyOf(1, 100)))).length, 100);
  await refused(t, 'BODY_UNREADABLE', () => again.read(bad, sha256(bodyOf(2, 100))));
  const refs = [good, bad, gone];
  const verifiers = new Map([
    [
      'rows',
      ({ key }: { key: Buffer }) => ({
        ref: refs[key[0] ?? 0] as typeof good,
        sha256: sha256(bodyOf((key[0] ?? 0) + 1, 100)),
      }),
    ],
  ]);
  const report = await verifyStore(folder, { bodies: true, verifiers });
  t.like(report, { bodies: 3, missing: 1, bad: 2 });
  t.deepEqual(
    report.findings.map(({ table }) => table),
    ['$body', 'rows', 'rows'],
  );
});

test('small bodies: numbers go on where segment and offset run over', t => {
  const ref = rowRef('inbox', 3 * 2 ** 32 + 7, 1);
  t.deepEqual(ref, { log: 'inbox', segment: 2 ** 31 + 3, offset: 7, length: 1 });
  t.is(numberAfter(undefined), 0);
  t.is(numberAfter({ key: bodyKey(ref), value: Buffer.alloc(0), damaged: false }), 3 * 2 ** 32 + 8);
});

/** Says of a store that it is of a layout. */
const setLayout = (folder: string, layout: number): Promise<void> =>
  withRawRows(folder, async env => {
    const at = Buffer.from('$store\0identity');
    const identity = StoreIdentity.decode(checkedRow('$store', at, env.getBinary(at) as Buffer).value);
    await env.put(at, withChecksum(at, Buffer.from(StoreIdentity.encode({ ...identity, layout }).finish())));
  });

test('open: a store of the layout before is the same store, and goes on in this one', async t => {
  const folder = await storeFolder(t);
  const before = await openStore(folder, { reserveBytes: 0, rowBodyBytes: -1 });
  const old = await storeBody(before, 'inbox', bodyOf(1, 100));
  t.false(isRow(old));
  await before.close();
  await setLayout(folder, 1);
  t.is((await verifyStore(folder, { bodies: false, verifiers: new Map() })).identity.layout, 1);
  const store = await opened(t, folder);
  t.deepEqual(store.id, before.id);
  t.is((await verifyStore(folder, { bodies: false, verifiers: new Map() })).identity.layout, 2);
  t.true(isRow(await storeBody(store, 'inbox', bodyOf(2, 100))));
  t.true((await store.read(old, sha256(bodyOf(1, 100)))).equals(bodyOf(1, 100)));
  t.is((await store.stats()).bodyBytes.get('inbox'), 200);
});

test('open: a store of a later layout is refused', async t => {
  const folder = await storeFolder(t);
  await (await openStore(folder, { reserveBytes: 0 })).close();
  await setLayout(folder, 3);
  const error = await refused(t, 'STORE_DAMAGED', () => openStore(folder, { reserveBytes: 0 }));
  t.regex(error.message, /has layout 3; this version reads layouts up to 2/);
});
