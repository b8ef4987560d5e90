import { unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { FedgateError } from '../../../src/errors.js';
import { openContents } from '../../../src/files/content/open.js';
import { openStore } from '../../../src/store/open.js';
import { failingDisk, run, smallDisk } from '../../store/small-disk.js';
import { refused } from '../../support/reasons.js';
import {
  contentOf,
  deliver,
  filesIn,
  GLOBEX,
  LIMITS,
  MIB,
  manifestOf,
  nothing,
  openWorld,
  PIECE,
  readWhole,
  startOf,
  writeUpTo,
} from './support.js';

const fill = async (disk: string): Promise<string> => {
  const path = join(disk, 'filler');
  await writeFile(path, Buffer.alloc(64 * MIB)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOSPC') throw error;
  });
  return path;
};

test.serial('full disk: an upload ends with STORE_FULL in the middle, and goes on when there is room', async t => {
  const disk = await smallDisk(t, 40 * MIB);
  if (!disk) return;
  const world = await openWorld(t, { folder: join(disk, 'gateway') });
  const content = contentOf('full', 4 * PIECE + 5);
  const start = startOf(content.length);
  const upload = await world.contents.upload(start);
  await writeUpTo(upload, content, 2 * PIECE + MIB);
  const filler = await fill(disk);
  await refused(t, 'STORE_FULL', async () => {
    for (let at = 2 * PIECE + MIB; at < content.length; at += MIB)
      await upload.write(at, content.subarray(at, at + MIB));
    await upload.finish(nothing);
  });
  await refused(t, 'STORE_FULL', () => upload.write(2 * PIECE + MIB, Buffer.alloc(1)));
  await upload.close();
  t.deepEqual((await filesIn(world.folder)).incoming, []);
  const committed = (await world.contents.findUpload(start.owner, start.uploadId))?.committedSize ?? 0;
  t.is((await filesIn(world.folder)).pieces.length, committed / PIECE);
  await unlink(filler);
  const again = await world.contents.upload(start);
  t.is(again.committedSize, committed);
  await writeUpTo(again, content);
  const held = await again.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
});

test.serial('full disk: a piece that is received fails with STORE_FULL, leaves nothing, and comes later', async t => {
  const disk = await smallDisk(t, 24 * MIB);
  if (!disk) return;
  const { contents, folder } = await openWorld(t, { folder: join(disk, 'gateway') });
  const content = contentOf('full', 2 * PIECE);
  const held = await contents.holdRemote(manifestOf(content), GLOBEX);
  await deliver(held, 0, content);
  const filler = await fill(disk);
  await refused(t, 'STORE_FULL', () => deliver(held, 1, content));
  t.false(held.has(1));
  t.is((await filesIn(folder)).pieces.length, 1);
  t.deepEqual((await filesIn(folder)).incoming, []);
  await unlink(filler);
  t.true(await deliver(held, 1, content));
  t.true((await readWhole(held)).equals(content));
  held.release();
});

test.serial('full disk: what is free is promised once', async t => {
  const disk = await smallDisk(t, 40 * MIB);
  if (!disk) return;
  const { contents } = await openWorld(t, { folder: join(disk, 'gateway'), limits: { reserveBytes: 8 * MIB } });
  const offers = await Promise.allSettled(Array.from({ length: 6 }, () => contents.upload(startOf(8 * MIB))));
  const refusals = offers.flatMap(offer => (offer.status === 'rejected' ? [offer.reason as FedgateError] : []));
  t.is(refusals.length, 3);
  for (const { reason, metadata } of refusals) t.deepEqual([reason, metadata.quota], ['FILES_FULL', 'disk']);
  await refused(t, 'FILES_FULL', () => contents.reserve(8 * MIB));
});

test.serial('read-only disk: writing fails with STORE_READ_ONLY, reading goes on', async t => {
  const disk = await smallDisk(t, 40 * MIB);
  if (!disk) return;
  const world = await openWorld(t, {});
  const contents = await openContents({
    ...{ folder: join(disk, 'files'), store: world.store, now: Date.now, limits: LIMITS, onEvent: nothing },
  });
  t.teardown(() => contents.close());
  const content = contentOf('read-only', PIECE + 1);
  const upload = await contents.upload(startOf(content.length));
  await writeUpTo(upload, content);
  const held = await upload.finish(nothing);
  await run('mount', ['-o', 'remount,ro', disk]);
  const start = startOf(content.length);
  const refusedOne = await contents.upload(start);
  await refused(t, 'STORE_READ_ONLY', () => refusedOne.write(0, Buffer.alloc(10)));
  t.true((await readWhole(held)).equals(content));
  await run('mount', ['-o', 'remount,rw', disk]);
  const again = await contents.upload(start);
  await writeUpTo(again, contentOf('other', PIECE + 1));
  (await again.finish(nothing)).release();
  held.release();
});

test.serial(
  'a failing disk: an upload ends in the middle, and goes on from what was committed when the disk is repaired',
  async t => {
    const disk = await failingDisk(t, 14 * MIB, '64M');
    if (!disk) return;
    const { store } = await openWorld(t, {});
    const open = () =>
      openContents({ folder: join(disk.folder, 'files'), store, now: Date.now, limits: LIMITS, onEvent: nothing });
    const content = contentOf('failing', 4 * PIECE + 5);
    const start = startOf(content.length);
    const contents = await open();
    t.teardown(() => contents.close());
    const upload = await contents.upload(start);
    const error = await t.throwsAsync<FedgateError>(async () => {
      await writeUpTo(upload, content);
      await upload.finish(nothing);
    });
    t.true(['STORE_FAILED', 'STORE_READ_ONLY', 'STORE_FULL'].includes(error?.reason ?? ''), error?.reason);
    await upload.close();
    const committed = (await contents.findUpload(start.owner, start.uploadId))?.committedSize ?? 0;
    await contents.close();
    t.true(committed < 4 * PIECE);
    await disk.repair();
    const repaired = await open();
    t.teardown(() => repaired.close());
    const again = await repaired.upload(start);
    // What was committed is on stable storage, whatever failed behind it.
    t.is(again.committedSize, committed);
    await writeUpTo(again, content);
    const held = await again.finish(nothing);
    t.true((await readWhole(held)).equals(content));
    held.release();
  },
);

test.serial('a failing index: what cannot be committed is as if it never came', async t => {
  const world = await openWorld(t);
  const content = contentOf('index', 2 * PIECE + 1);
  const start = startOf(content.length);
  await world.close();
  // A store that refuses some changes, as one on a full disk does.
  const store = await openStore(join(world.folder, 'store'), { reserveBytes: 0 });
  t.teardown(() => store.close());
  let failing = false;
  const commit = store.commit.bind(store);
  store.commit = change =>
    failing ? Promise.reject(new FedgateError('STORE_FULL', 'the disk is full')) : commit(change);
  const options = { folder: join(world.folder, 'files'), store, now: Date.now, limits: LIMITS, onEvent: nothing };
  const contents = await openContents(options);
  t.teardown(() => contents.close());
  const upload = await contents.upload(start);
  await writeUpTo(upload, content, PIECE);
  await upload.close();
  const second = await contents.upload(start);
  await writeUpTo(second, content);
  failing = true;
  await refused(t, 'STORE_FULL', () => second.finish(nothing));
  await second.close();
  const committed = (await contents.findUpload(start.owner, start.uploadId))?.committedSize ?? 0;
  t.true(committed >= PIECE);
  t.is((await filesIn(world.folder)).pieces.length, committed / PIECE);
  failing = false;
  const third = await contents.upload(start);
  t.is(third.committedSize, committed);
  await writeUpTo(third, content);
  const held = await third.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
});
