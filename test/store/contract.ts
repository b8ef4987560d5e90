import type { TestFn } from 'ava';
import { type BodyRef, Change, type Store } from '../../src/store/store.js';
import { refused } from '../support/reasons.js';
import type { TestScope } from '../support/registry.js';
import { bodyOf, sha256, storeBody, writeBody } from './support.js';

const text = (value: string): Buffer => Buffer.from(value);

/** What every store does, whatever engine is behind it. `open` opens a new one that is closed after the test. */
export function storeContract(test: TestFn, open: (t: TestScope) => Promise<Store>): void {
  test('get: answers what was committed, and nothing once it is removed', async t => {
    const store = await open(t);
    t.is(await store.get('rows', text('a')), undefined);
    await store.commit(new Change().put('rows', text('a'), text('1')).put('rows', text('empty'), Buffer.alloc(0)));
    t.deepEqual(await store.get('rows', text('a')), text('1'));
    t.deepEqual(await store.get('rows', text('empty')), Buffer.alloc(0));
    // How ts-proto encodes a message of nothing but defaults.
    const nowhere = Buffer.from(new Uint8Array(new ArrayBuffer(0)).buffer);
    await store.commit(new Change().put('rows', text('nowhere'), nowhere));
    t.deepEqual(await store.get('rows', text('nowhere')), Buffer.alloc(0));
    t.is(await store.get('row', text('a')), undefined, 'tables are apart');
    await store.commit(new Change().remove('rows', text('a')).remove('rows', text('never there')));
    t.is(await store.get('rows', text('a')), undefined);
  });

  test('scan: rows of one table in the order of their bytes, within bounds', async t => {
    const store = await open(t);
    const change = new Change();
    for (const name of ['b', 'a', 'c', 'd', '']) change.put('rows', text(name), text(name));
    change.put('row', text('z'), text('')).put('rowss', text('z'), text(''));
    await store.commit(change.put('rows', Buffer.of(0xff, 0xff), text('last')));
    const keys = async (options: object): Promise<string[]> =>
      (await store.scan('rows', { limit: 10, ...options })).map(({ key }) => key.toString('latin1'));
    t.deepEqual(await keys({}), ['', 'a', 'b', 'c', 'd', '\xff\xff']);
    t.deepEqual(await keys({ reverse: true }), ['\xff\xff', 'd', 'c', 'b', 'a', '']);
    t.deepEqual(await keys({ from: text('b'), to: text('d') }), ['b', 'c']);
    t.deepEqual(await keys({ from: text('b'), to: text('d'), reverse: true }), ['c', 'b']);
    t.deepEqual(await keys({ limit: 2 }), ['', 'a']);
    t.deepEqual(await keys({ limit: 2, reverse: true, to: text('d') }), ['c', 'b']);
    t.deepEqual(await keys({ from: text('d'), to: text('b') }), []);
  });

  test('a change: ranges go first, then removals, then puts', async t => {
    const store = await open(t);
    await store.commit(new Change().put('rows', text('a'), text('1')).put('rows', text('b'), text('1')));
    const change = new Change().put('rows', text('b'), text('2')).put('rows', text('c'), text('2'));
    await store.commit(change.remove('rows', text('b')).removeRange('rows', {}));
    const rows = await store.scan('rows', { limit: 10 });
    t.deepEqual(
      rows.map(({ key, value }) => `${key}=${value}`),
      ['b=2', 'c=2'],
    );
  });

  test('ranges: cover what earlier changes of the same turn put', async t => {
    const store = await open(t);
    const done = [
      store.commit(new Change().put('rows', text('a'), text('1'))),
      store.commit(new Change().removeRange('rows', {}).put('rows', text('b'), text('1'))),
      store.commit(new Change().put('rows', text('c'), text('1'))),
    ];
    await Promise.all(done);
    t.deepEqual(
      (await store.scan('rows', { limit: 10 })).map(({ key }) => key.toString()),
      ['b', 'c'],
    );
  });

  test('bodies: those before one are released together, and it stays', async t => {
    const store = await open(t);
    const refs: BodyRef[] = [];
    for (let i = 0; i < 6; i++) refs.push(await storeBody(store, 'inbox', bodyOf(i, 60_000)));
    const other = await storeBody(store, 'other', bodyOf(7, 10));
    await store.commit(new Change().releaseBefore(refs[4] as BodyRef));
    for (const i of [4, 5])
      t.deepEqual(await store.read(refs[i] as BodyRef, sha256(bodyOf(i, 60_000))), bodyOf(i, 60_000));
    // Space is given back by segments: a few may be held for those that stay.
    const held = (await store.stats()).bodyBytes.get('inbox') ?? 0;
    t.true(held >= 120_000 && held < 360_000, `${held}`);
    const behind = store.reserve('inbox', 0);
    await storeBody(store, 'inbox', bodyOf(8, 10_000));
    await store.commit(new Change().releaseBefore(store.reserve('inbox', 0)).releaseBefore(behind));
    t.is((await store.stats()).bodyBytes.get('inbox') ?? 0, 0);
    t.deepEqual(await store.read(other, sha256(bodyOf(7, 10))), bodyOf(7, 10));
  });

  test('bodies: are read as they were written, in parts or not, empty or larger than a segment', async t => {
    const store = await open(t);
    const bodies = [1, 5000, 0, 100_000, 300_000, 77].map((length, i) => bodyOf(i, length));
    const change = new Change();
    const refs = bodies.map(body => writeBody(store, change, 'inbox', body));
    await store.commit(change);
    for (const [i, ref] of refs.entries()) {
      const body = bodies[i] as Buffer;
      t.true((await store.read(ref, sha256(body))).equals(body));
    }
    const { bodyBytes } = await store.stats();
    t.is(
      bodyBytes.get('inbox'),
      bodies.reduce((sum, { length }) => sum + length, 0),
    );
  });

  test('read: refuses another digest, and what is not there', async t => {
    const store = await open(t);
    const body = bodyOf(1, 1000);
    const ref = await storeBody(store, 'inbox', body);
    await refused(t, 'BODY_UNREADABLE', () => store.read(ref, sha256(bodyOf(2, 1000))));
    await refused(t, 'BODY_UNREADABLE', () => store.read({ ...ref, segment: ref.segment + 7 }, sha256(body)));
    await refused(t, 'BODY_UNREADABLE', () => store.read({ ...ref, offset: ref.offset + 1 }, sha256(body)));
  });

  test('release: frees the disk once a log has moved on', async t => {
    const store = await open(t);
    const refs = [];
    for (let i = 0; i < 20; i++) refs.push(await storeBody(store, 'inbox', bodyOf(i, 50_000)));
    const before = (await store.stats()).diskBytes;
    const change = new Change();
    for (const ref of refs) change.release(ref);
    await store.commit(change);
    const { bodyBytes, diskBytes } = await store.stats();
    t.is(bodyBytes.get('inbox'), 0);
    t.true(diskBytes < before - 800_000, `${diskBytes} after ${before}`);
  });

  test('a reserved place: may be used late, after all around it was released', async t => {
    const store = await open(t);
    const early = bodyOf(1, 10_000);
    const place = store.reserve('inbox', early.length);
    for (let i = 0; i < 20; i++) {
      const ref = await storeBody(store, 'inbox', bodyOf(i, 50_000));
      await store.commit(new Change().release(ref));
    }
    await store.commit(new Change().write(place, [early]));
    t.true((await store.read(place, sha256(early))).equals(early));
  });

  test('commit: resolves in the order of the calls', async t => {
    const store = await open(t);
    const order: number[] = [];
    const all = Array.from({ length: 100 }, (_, i) => {
      const change = new Change().put('rows', text(`${i}`), text(''));
      if (i % 3 === 0) writeBody(store, change, i % 2 ? 'inbox' : 'outbox-GLOBEX', bodyOf(i, 20_000));
      return store.commit(change).then(() => order.push(i));
    });
    await Promise.all(all);
    t.deepEqual(
      order,
      order.map((_, i) => i),
    );
    const { commits, changes } = await store.stats();
    t.is(changes, 100);
    t.true(commits < 50, `${commits} commits for changes of one turn`);
  });

  test('commit: what is patient is stored by itself, and before what comes after it', async t => {
    const store = await open(t);
    await store.commit(new Change().put('rows', text('a'), text('1')), { patient: true });
    t.deepEqual(await store.get('rows', text('a')), text('1'));
    const order: string[] = [];
    const patient = store
      .commit(new Change().put('rows', text('a'), text('2')), { patient: true })
      .then(() => order.push('patient'));
    await store.commit(new Change()).then(() => order.push('empty'));
    await patient;
    t.deepEqual(order, ['patient', 'empty']);
    t.deepEqual(await store.get('rows', text('a')), text('2'));
  });

  test('commit: refuses what can never be stored, and goes on', async t => {
    const store = await open(t);
    const ref = store.reserve('inbox', 10);
    await t.throwsAsync(store.commit(new Change().write(ref, [Buffer.alloc(9)])), { instanceOf: RangeError });
    await t.throwsAsync(store.commit(new Change().put('rows', Buffer.alloc(1979), text(''))), {
      instanceOf: RangeError,
    });
    t.throws(() => store.reserve('../escape', 1), { instanceOf: RangeError });
    await store.commit(new Change().put('rows', text('a'), text('1')));
    t.is(store.health.state, 'ok');
  });

  test('close: carries out what was handed in; nothing is taken afterwards', async t => {
    const store = await open(t);
    let stored = false;
    const last = store.commit(new Change().put('rows', text('a'), text('1'))).then(() => {
      stored = true;
    });
    await store.close();
    t.true(stored);
    await last;
    await refused(t, 'STORE_FAILED', () => store.commit(new Change().put('rows', text('b'), text('1'))));
    await refused(t, 'STORE_FAILED', () => store.get('rows', text('a')));
  });
}
