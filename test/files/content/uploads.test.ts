import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { FedgateError } from '../../../src/errors.js';
import { pieceDigest } from '../../../src/files/manifest.js';
import { refused } from '../../support/reasons.js';
import { flip } from './damage.js';
import {
  contentOf,
  filesIn,
  GLOBEX,
  idOf,
  MIB,
  manifestOf,
  nothing,
  openWorld,
  PIECE,
  readWhole,
  share,
  startOf,
  writeUpTo,
} from './support.js';

test('upload: goes on from what is committed, in the same process and after a restart', async t => {
  const world = await openWorld(t);
  const content = contentOf('resumed', 4 * PIECE + 99);
  const start = startOf(content.length);
  const first = await world.contents.upload(start);
  await writeUpTo(first, content, 2 * PIECE + MIB);
  await first.close();
  t.is(first.committedSize, 2 * PIECE);
  const found = await world.contents.findUpload(start.owner, start.uploadId);
  t.deepEqual(found, {
    committedSize: 2 * PIECE,
    pieceSize: PIECE,
    pieces: manifestOf(content).pieces.subarray(0, 64),
  });

  const second = await world.contents.upload(start);
  t.is(second.committedSize, 2 * PIECE);
  await writeUpTo(second, content, 3 * PIECE);
  await second.close();

  const { contents, folder } = await world.restart();
  const third = await contents.upload(start);
  t.is(third.committedSize, 3 * PIECE);
  t.true(third.pieces.equals(manifestOf(content).pieces.subarray(0, 96)));
  await writeUpTo(third, content);
  const held = await third.finish(nothing);
  t.true(held.id.equals(idOf(content)));
  t.true((await readWhole(held)).equals(content));
  held.release();
  t.is(await contents.findUpload(start.owner, start.uploadId), undefined);
  t.is((await filesIn(folder)).pieces.length, 5);
});

test('upload: more than 128 committed pieces are known again after a restart, in order', async t => {
  const world = await openWorld(t);
  // Equal pieces are stored once, so that this is quick; the first and the last of a row of digests differ.
  const content = Buffer.alloc(130 * PIECE);
  for (const index of [0, 127, 128, 129]) content.writeUInt32LE(index + 1, index * PIECE);
  const start = startOf(content.length);
  const first = await world.contents.upload(start);
  await writeUpTo(first, content, content.length, MIB);
  await first.close();
  t.is(first.committedSize, content.length);
  const { contents, folder } = await world.restart();
  const found = await contents.findUpload(start.owner, start.uploadId);
  t.true(found?.pieces.equals(manifestOf(content).pieces));
  const again = await contents.upload(start);
  const held = await again.finish(nothing);
  t.true(held.id.equals(idOf(content)));
  t.is((await filesIn(folder)).pieces.length, 5);
  held.release();
});

test('upload: chunks with a gap, an overlap or beyond the size are refused, and change nothing', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('offsets', PIECE + 1000);
  const upload = await contents.upload(startOf(content.length));
  await upload.write(0, content.subarray(0, 500));
  for (const [offset, length] of [
    [501, 10],
    [499, 10],
    [0, 10],
    [-1, 10],
    [500, content.length],
    [Number.MAX_SAFE_INTEGER, 10],
    [Number.NaN, 10],
  ] as const) {
    const error = await refused(t, 'OFFSET_INVALID', () => upload.write(offset, Buffer.alloc(length)));
    t.is(error.metadata.committedSize, '0');
  }
  await refused(t, 'OFFSET_INVALID', () => upload.finish(nothing));
  for (let at = 500; at < content.length; at += 100_000) await upload.write(at, content.subarray(at, at + 100_000));
  await refused(t, 'OFFSET_INVALID', () => upload.write(content.length, Buffer.of(1)));
  const held = await upload.finish(nothing);
  t.true(held.id.equals(idOf(content)));
  await t.throwsAsync(() => upload.write(content.length, Buffer.of(1)), { instanceOf: RangeError });
  held.release();
});

test('upload: short of what was declared it does not finish, and can be resumed', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('short', PIECE + 1000);
  const start = startOf(content.length);
  const upload = await contents.upload(start);
  await writeUpTo(upload, content, PIECE + 999);
  const error = await refused(t, 'OFFSET_INVALID', () => upload.finish(nothing));
  t.is(error.metadata.size, String(content.length));
  await upload.close();
  t.is((await contents.findUpload(start.owner, start.uploadId))?.committedSize, PIECE);
  const again = await contents.upload(start);
  await writeUpTo(again, content);
  const held = await again.finish(nothing);
  t.true(held.id.equals(idOf(content)));
  held.release();
});

test('upload: the newer of two callers wins; what the older still writes changes nothing', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('fenced', 3 * PIECE);
  const start = startOf(content.length);
  const older = await contents.upload(start);
  await writeUpTo(older, content, PIECE + 10);
  const late = older.write(PIECE + 10, contentOf('wrong', 2 * PIECE - 10));
  const newer = await contents.upload(start);
  t.true(older.taken.aborted);
  t.is((older.taken.reason as FedgateError).reason, 'UPLOAD_TAKEN');
  await refused(t, 'UPLOAD_TAKEN', () => late);
  await refused(t, 'UPLOAD_TAKEN', () => older.write(PIECE + 10, Buffer.alloc(10)));
  await refused(t, 'UPLOAD_TAKEN', () => older.finish(() => t.fail('it was published')));
  await older.close();
  t.is(newer.committedSize % PIECE, 0);
  t.true(newer.committedSize >= PIECE);
  // What the older had handed in before may have been committed, and is then known to the newer.
  t.is((await contents.findUpload(start.owner, start.uploadId))?.committedSize, newer.committedSize);
  await contents.cancelUpload(start.owner, start.uploadId);
});

test('upload: of many that open one at once the last has it, and it ends right', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('crowd', 2 * PIECE);
  const start = startOf(content.length);
  const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => contents.upload(start)));
  const opened = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.is((outcome.reason as FedgateError).reason, 'UPLOAD_TAKEN');
  }
  const alive = opened.filter(({ taken }) => !taken.aborted);
  t.is(alive.length, 1);
  t.is(outcomes.at(-1)?.status, 'fulfilled');
  const [upload] = alive;
  if (!upload) return;
  await writeUpTo(upload, content);
  const held = await upload.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
});

test('upload: resumed with another beginning it is refused, and who writes to it goes on', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('mismatch', 2 * PIECE);
  const start = startOf(content.length);
  const upload = await contents.upload(start);
  await writeUpTo(upload, content, PIECE);
  const other = startOf(content.length, { uploadId: start.uploadId, name: 'other.bin' });
  await refused(t, 'UPLOAD_MISMATCH', () => contents.upload(other));
  t.false(upload.taken.aborted);
  await upload.close();
  await refused(t, 'UPLOAD_MISMATCH', () => contents.upload(other));
  await refused(t, 'UPLOAD_MISMATCH', () => contents.upload(startOf(undefined, { uploadId: start.uploadId })));
  // The same id of another node is another upload.
  const others = await contents.upload({ ...other, owner: 'shipping' });
  t.is(others.committedSize, 0);
  await others.close();
  t.is((await contents.upload(start)).committedSize, PIECE);
});

test('upload: cancelled it is gone with all it referred to, and its writer is over', async t => {
  const { contents, folder } = await openWorld(t);
  const content = contentOf('cancelled', 3 * PIECE);
  const start = startOf(content.length);
  const upload = await contents.upload(start);
  await writeUpTo(upload, content, 2 * PIECE + 5);
  await contents.cancelUpload(start.owner, start.uploadId);
  t.true(upload.taken.aborted);
  await refused(t, 'CANCELLED', () => upload.write(2 * PIECE + 5, Buffer.alloc(1)));
  await contents.cancelUpload(start.owner, start.uploadId);
  await contents.cancelUpload(start.owner, randomBytes(16));
  await contents.sweep();
  t.is(await contents.findUpload(start.owner, start.uploadId), undefined);
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
});

test('finish: rows of others are committed along, or not at all', async t => {
  const { contents, store } = await openWorld(t);
  const content = contentOf('also', 10);
  const start = startOf(content.length);
  const failing = await contents.upload(start);
  await writeUpTo(failing, content);
  const problem = new Error('no share');
  await t.throwsAsync(
    () =>
      failing.finish(() => {
        throw problem;
      }),
    { is: problem },
  );
  await failing.close();
  t.is(await contents.hold(idOf(content)), undefined);
  const upload = await contents.upload(start);
  await writeUpTo(upload, content);
  const held = await upload.finish((change, { id, manifest }) => {
    t.is(manifest.size, 10);
    change.put('file-share', Buffer.from('share'), id);
  });
  t.true((await store.get('file-share', Buffer.from('share')))?.equals(held.id));
  await contents.dropShare(held.id, change => change.remove('file-share', Buffer.from('share')), 'billing');
  t.is(await store.get('file-share', Buffer.from('share')), undefined);
  held.release();
});

test('finish: content that is there already is used, and what another organisation sent of it stays a content of its own', async t => {
  const { contents, folder, time } = await openWorld(t);
  const content = contentOf('again', 2 * PIECE + 3);
  const remote = await contents.holdRemote(manifestOf(content), GLOBEX);
  const writer = await remote.receive(1);
  await writer?.write(content.subarray(PIECE, 2 * PIECE));
  await writer?.finish();
  const one = await share(contents, content, 'billing');
  t.deepEqual([remote.verified, remote.has(0), remote.has(1)], [false, false, true]);
  const two = await share(contents, content, 'shipping');
  t.is((await filesIn(folder)).pieces.length, 3);
  for (const held of [remote, one, two]) held.release();
  await contents.dropShare(one.id, nothing, 'billing');
  time.ms += 48 * 3_600_000;
  await contents.sweep();
  const still = await contents.hold(idOf(content));
  t.true(still && (await readWhole(still)).equals(content));
  still?.release();
  await contents.dropShare(one.id, nothing, 'shipping');
  time.ms += 48 * 3_600_000;
  await contents.sweep();
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
});

test('finish: two uploads of one content at the same time both become it', async t => {
  const { contents, folder, time } = await openWorld(t);
  const content = contentOf('both', 2 * PIECE + 3);
  const holds = await Promise.all([share(contents, content, 'billing'), share(contents, content, 'shipping')]);
  t.is((await filesIn(folder)).pieces.length, 3);
  for (const held of holds) {
    t.true((await readWhole(held)).equals(content));
    held.release();
    await contents.dropShare(held.id, nothing);
  }
  time.ms += 48 * 3_600_000;
  await contents.sweep();
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
});

test('close: ends writers, leaves nothing half-written, and refuses what comes later', async t => {
  const world = await openWorld(t);
  const { contents, folder } = world;
  const upload = await contents.upload(startOf(PIECE));
  await upload.write(0, Buffer.alloc(1000, 1));
  await contents.close();
  t.true(upload.taken.aborted);
  t.deepEqual((await filesIn(folder)).incoming, []);
  await refused(t, 'STORE_FAILED', () => upload.write(1000, Buffer.alloc(1)));
  await refused(t, 'STORE_FAILED', () => contents.upload(startOf(1)));
  await refused(t, 'STORE_FAILED', () => contents.hold(randomBytes(32)));
});

test('upload: a committed piece that is damaged ends it; a new one begins at 0', async t => {
  const world = await openWorld(t);
  const content = contentOf('rotten upload', 3 * PIECE);
  const start = startOf(content.length);
  const upload = await world.contents.upload(start);
  await writeUpTo(upload, content, 2 * PIECE);
  await upload.close();
  await flip(world.folder, pieceDigest(manifestOf(content), 1));
  const { contents, folder } = await world.restart();
  await refused(t, 'FILE_DAMAGED', () => contents.upload(start));
  t.is(await contents.findUpload(start.owner, start.uploadId), undefined);
  const again = await contents.upload(start);
  t.is(again.committedSize, 0);
  await writeUpTo(again, content);
  const held = await again.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
  t.is((await filesIn(folder)).pieces.length, 3);
});

test('close: while it finishes either nothing or all of it is published', async t => {
  const { contents } = await openWorld(t);
  for (let round = 0; round < 10; round++) {
    const content = contentOf(`round ${round}`, PIECE + 1000);
    const upload = await contents.upload(startOf(content.length));
    await writeUpTo(upload, content);
    const finishing = upload.finish(nothing).catch(() => undefined);
    for (let turn = 0; turn < round; turn++) await new Promise(resolve => setImmediate(resolve));
    await upload.close();
    const held = await finishing;
    const found = await contents.hold(idOf(content));
    t.is(found === undefined, held === undefined, `round ${round}`);
    if (found) t.true((await readWhole(found)).equals(content));
    found?.release();
    held?.release();
  }
});
