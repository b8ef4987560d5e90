import { statfs, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { FedgateError, type Reason } from '../../src/errors.js';
import { storeFailure } from '../../src/store/failures.js';
import { openStore } from '../../src/store/open.js';
import { type BodyRef, Change, type Store, type StoreHealth } from '../../src/store/store.js';
import { refused } from '../support/reasons.js';
import { run, smallDisk } from './small-disk.js';
import { bodyOf, opened, sha256, storeBody } from './support.js';

const fill = async (folder: string): Promise<string> => {
  const path = join(folder, 'fill');
  await writeFile(path, Buffer.alloc(64 * 1024 * 1024)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
  return path;
};

/** The store's own timer does not keep a process alive; this one does, and ends a wait that is in vain. */
const becomes = (store: Store, state: StoreHealth['state']): Promise<void> =>
  new Promise((resolve, reject) => {
    const patience = setTimeout(() => reject(new Error(`the store did not become ${state}`)), 60_000);
    const stop = store.onHealth(health => {
      if (health.state !== state) return;
      clearTimeout(patience);
      stop();
      resolve();
    });
  });

const row = (name: string, bytes = 10): Change => new Change().put('rows', Buffer.from(name), Buffer.alloc(bytes, 1));

test.serial('full disk: bodies are refused at the reserve, rows go on, and it recovers by itself', async t => {
  const disk = await smallDisk(t, 8 * 1024 * 1024);
  if (!disk) return;
  const store = await opened(t, join(disk, 'store'), { reserveBytes: 2 * 1024 * 1024, segmentBytes: 1024 * 1024 });
  const full = becomes(store, 'full');
  const stored: BodyRef[] = [];
  const tryToStore = async (): Promise<void> => {
    while (stored.length < 1000) stored.push(await storeBody(store, 'inbox', bodyOf(stored.length, 100_000)));
  };
  const error = await refused(t, 'STORE_FULL', tryToStore);
  t.is(error.retryAfterMs, 1000);
  await full;
  t.is(store.health.state, 'full');
  t.true(stored.length > 20 && stored.length < 70, `${stored.length} bodies`);
  const { bavail, bsize } = await statfs(disk);
  t.true(bavail * bsize >= 1024 * 1024);

  await store.commit(row('a'));
  for (const [i, ref] of stored.entries()) {
    const body = bodyOf(i, 100_000);
    t.true((await store.read(ref, sha256(body))).equals(body));
  }
  const well = becomes(store, 'ok');
  const change = new Change();
  for (const ref of stored) change.release(ref);
  await store.commit(change);
  await well;
  await storeBody(store, 'inbox', bodyOf(1, 100_000));
});

test.serial('full disk: to the last byte, rows are refused too; nothing of them is done, and it recovers', async t => {
  const disk = await smallDisk(t, 4 * 1024 * 1024);
  if (!disk) return;
  const folder = join(disk, 'store');
  const store = await opened(t, folder);
  await store.commit(row('before'));
  const filler = await fill(disk);
  // One change fails, and whatever was handed in with it.
  const doomed = [row('doomed', 500_000), row('behind'), row('further behind')].map(change => store.commit(change));
  for (const one of doomed) await refused(t, 'STORE_FULL', () => one);
  await refused(t, 'STORE_FULL', () => storeBody(store, 'inbox', bodyOf(1, 100_000)));
  t.is(store.health.state, 'full');
  t.deepEqual(
    (await store.scan('rows', { limit: 10 })).map(({ key }) => key.toString()),
    ['before'],
  );
  const well = becomes(store, 'ok');
  await unlink(filler);
  await store.commit(row('after', 500_000));
  await well;
  await store.close();
  const again = await opened(t, folder);
  t.deepEqual(
    (await again.scan('rows', { limit: 10 })).map(({ key }) => key.toString()),
    ['after', 'before'],
  );
});

test.serial(
  'full disk: a store that is there opens with no byte free, is read, says that it is full, and recovers',
  async t => {
    const disk = await smallDisk(t, 4 * 1024 * 1024);
    if (!disk) return;
    const folder = join(disk, 'store');
    const options = { reserveBytes: 1024 * 1024 };
    const first = await openStore(folder, options);
    const body = bodyOf(1, 100_000);
    const ref = await storeBody(first, 'inbox', body);
    await first.commit(row('before'));
    await first.close();
    // As a process that was killed leaves it.
    await symlink(`${2 ** 22 + 1} 1`, join(folder, 'owner'));
    const filler = await fill(disk);
    const { bavail } = await statfs(disk);
    t.is(bavail, 0);

    const store = await opened(t, folder, options);
    t.is(store.health.state, 'full');
    t.deepEqual(await store.get('rows', Buffer.from('before')), Buffer.alloc(10, 1));
    t.true((await store.read(ref, sha256(body))).equals(body));
    await refused(t, 'STORE_FULL', () => storeBody(store, 'inbox', body));
    await refused(t, 'STORE_LOCKED', () => openStore(folder, options));
    const well = becomes(store, 'ok');
    await unlink(filler);
    await well;
    await storeBody(store, 'inbox', body);
  },
);

test.serial('full disk: what a new store needs is refused in words, also when it is LMDB that needs it', async t => {
  const disk = await smallDisk(t, 4 * 1024 * 1024);
  if (!disk) return;
  const folder = join(disk, 'store');
  await (await openStore(folder, { reserveBytes: 0 })).close();
  await unlink(join(folder, 'rows', 'lock.mdb'));
  const filler = await fill(disk);
  await refused(t, 'STORE_FULL', () => openStore(folder, { reserveBytes: 0 }));
  await refused(t, 'STORE_FULL', () => openStore(join(disk, 'new'), { reserveBytes: 0 }));
  await unlink(filler);
  await opened(t, folder);
  t.pass();
});

test.serial('read-only disk: the store is refused, and opens once it can be written again', async t => {
  const disk = await smallDisk(t, 4 * 1024 * 1024);
  if (!disk) return;
  const folder = join(disk, 'store');
  const first = await openStore(folder, { reserveBytes: 0 });
  await first.commit(row('a'));
  await first.close();
  await run('mount', ['-o', 'remount,ro', disk]);
  await refused(t, 'STORE_READ_ONLY', () => openStore(folder, { reserveBytes: 0 }));
  await run('mount', ['-o', 'remount,rw', disk]);
  const second = await opened(t, folder);
  t.truthy(await second.get('rows', Buffer.from('a')));
});

test('failures: are named by what the operating system says, in words or as a number', t => {
  const failing = (code: string | number): Error => Object.assign(new Error('it failed'), { code });
  const table: readonly (readonly [string | number, Reason])[] = [
    ['ENOSPC', 'STORE_FULL'],
    ['EDQUOT', 'STORE_FULL'],
    [28, 'STORE_FULL'],
    ['EROFS', 'STORE_READ_ONLY'],
    [30, 'STORE_READ_ONLY'],
    ['EIO', 'STORE_FAILED'],
    [5, 'STORE_FAILED'],
    [-30795, 'STORE_FAILED'],
  ];
  for (const [code, reason] of table) {
    const failure = storeFailure(failing(code), 'nothing was stored');
    t.is(failure.reason, reason, String(code));
    t.true(failure.retryable);
  }
  const known = new FedgateError('STORE_LOCKED', 'in use');
  t.is(storeFailure(known, 'nothing was stored'), known);
});
