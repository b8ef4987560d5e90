import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { FedgateError } from '../../../src/errors.js';
import { refused } from '../../support/reasons.js';
import {
  contentOf,
  deliver,
  GLOBEX,
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

const GIB = 1024 * MIB;

test('quotas: of offers made at once, which each fit but not together, as many are taken as do', async t => {
  const { contents } = await openWorld(t, { limits: { sharedBytes: 10 * GIB, sharedBytesPerNode: 3 * GIB } });
  const offers = await Promise.allSettled(Array.from({ length: 5 }, () => contents.upload(startOf(GIB))));
  // Each asks the disk how much is free before it is its turn, so any of them may come first.
  t.is(offers.filter(({ status }) => status === 'fulfilled').length, 3);
  for (const offer of offers) {
    if (offer.status === 'fulfilled') continue;
    const { reason, metadata, retryAfterMs } = offer.reason as FedgateError;
    t.is(reason, 'FILES_FULL');
    t.deepEqual(metadata, { quota: 'files.sharedBytesPerNode', limit: String(3 * GIB), used: String(3 * GIB) });
    t.truthy(retryAfterMs);
  }
  // Another node has a quota of its own, and what is given back can be had.
  const others = await contents.upload(startOf(3 * GIB, { owner: 'shipping' }));
  const taken = offers.find(({ status }) => status === 'fulfilled');
  if (taken?.status === 'fulfilled') await taken.value.close();
  await (await contents.upload(startOf(GIB))).close();
  await others.close();
});

test('quotas: all nodes together have one too', async t => {
  const { contents } = await openWorld(t, { limits: { sharedBytes: 2 * GIB } });
  await contents.upload(startOf(GIB, { owner: 'a' }));
  await contents.upload(startOf(GIB, { owner: 'b' }));
  const error = await refused(t, 'FILES_FULL', () => contents.upload(startOf(1, { owner: 'c' })));
  t.is(error.metadata.quota, 'files.sharedBytes');
});

test('quotas: the disk is not promised beyond what is free', async t => {
  const { contents } = await openWorld(t, { limits: { reserveBytes: 1e15 } });
  const error = await refused(t, 'FILES_FULL', () => contents.upload(startOf(1)));
  t.is(error.metadata.quota, 'disk');
  await (await contents.upload(startOf(0))).close();
  t.is((await refused(t, 'FILES_FULL', () => contents.reserve(1))).metadata.quota, 'disk');
});

test('quotas: what is committed, shared, dropped and removed is counted right, also after a restart', async t => {
  const limits = { sharedBytesPerNode: 4 * PIECE };
  let world = await openWorld(t, { limits });
  const full = async (size: number): Promise<void> => {
    await refused(t, 'FILES_FULL', () => world.contents.upload(startOf(size)));
  };
  const fits = async (size: number): Promise<void> => (await world.contents.upload(startOf(size))).close();
  const content = contentOf('counted', PIECE);
  const held = await share(world.contents, content);
  held.release();
  const start = startOf(2 * PIECE);
  const upload = await world.contents.upload(start);
  await writeUpTo(upload, contentOf('upload', 2 * PIECE), PIECE);
  await upload.close();
  for (let restart = 0; restart < 2; restart++) {
    await full(PIECE + 1);
    await fits(PIECE);
    world = await world.restart();
  }
  await world.contents.cancelUpload(start.owner, start.uploadId);
  await full(3 * PIECE + 1);
  await fits(3 * PIECE);
  // A second share of the same content costs nothing more, once it is one.
  const again = await share(world.contents, content);
  again.release();
  await fits(3 * PIECE);
  await world.contents.dropShare(held.id, nothing, 'billing');
  await full(3 * PIECE + 1);
  await world.contents.dropShare(held.id, nothing, 'billing');
  await fits(4 * PIECE);
  await full(4 * PIECE + 1);
  world = await world.restart();
  await fits(4 * PIECE);
});

test('quotas: a size that was not declared is reserved as it comes, and refused in the middle', async t => {
  const { contents } = await openWorld(t, { limits: { sharedBytesPerNode: 130 * MIB } });
  const start = startOf(undefined);
  const upload = await contents.upload(start);
  await refused(t, 'FILES_FULL', () => contents.upload(startOf(66 * MIB + 1)));
  const chunk = Buffer.alloc(MIB);
  let at = 0;
  const write = async (): Promise<void> => {
    for (; at < 200 * MIB; at += MIB) await upload.write(at, chunk);
  };
  const error = await refused(t, 'FILES_FULL', write);
  t.is(error.metadata.quota, 'files.sharedBytesPerNode');
  t.is(at, 128 * MIB);
  await upload.close();
  t.is((await contents.findUpload(start.owner, start.uploadId))?.committedSize, 128 * MIB);
});

test('quotas: a size that was not declared fits into what is left, however little more than a piece that is', async t => {
  const { contents } = await openWorld(t, { limits: { sharedBytesPerNode: 2 * PIECE + 10 } });
  const content = contentOf('pipe', PIECE + 1);
  const one = await contents.upload(startOf(undefined));
  await writeUpTo(one, content);
  (await one.finish(nothing)).release();
  // PIECE and some bytes are taken: one more piece fits, a second does not.
  const two = await contents.upload(startOf(undefined));
  await two.write(0, Buffer.alloc(PIECE));
  const { message } = await refused(t, 'FILES_FULL', () => two.write(PIECE, Buffer.alloc(1)));
  t.regex(message, /files\.sharedBytesPerNode allows .* shares that are removed make room/);
  await two.close();
});

test('quotas: ten thousand uploads that never come are a hundred at most, and leave nothing', async t => {
  const { contents, store } = await openWorld(t);
  let opened = 0;
  let limited = 0;
  for (let i = 0; i < 10_000; i++) {
    try {
      await contents.upload(startOf(1));
      opened++;
    } catch (error) {
      t.is((error as FedgateError).reason, 'LIMIT_REACHED');
      if (++limited === 3) break;
    }
  }
  t.is(opened, 100);
  await (await contents.upload(startOf(1, { owner: 'shipping' }))).close();
  t.deepEqual(await store.scan('file-upload', { limit: 1 }), []);
});

test('uploads: an id or size that is none is refused', async t => {
  const { contents } = await openWorld(t);
  await refused(t, 'FIELD_INVALID', () => contents.upload(startOf(1, { uploadId: randomBytes(15) })));
  for (const size of [-1, 1.5, Number.NaN, 2 ** 53]) {
    await refused(t, 'FIELD_INVALID', () => contents.upload({ ...startOf(1), size }));
  }
  await refused(t, 'LIMIT_REACHED', () => contents.upload(startOf(2 ** 41)));
});

test('reserve: makes room by removing what was used least recently, never what is held or shared', async t => {
  const world = await openWorld(t, { limits: { cacheBytes: 4 * PIECE } });
  const { contents, time } = world;
  const [a, b, c] = ['a', 'b', 'c'].map(seed => contentOf(seed, PIECE)) as [Buffer, Buffer, Buffer];
  const own = await share(contents, contentOf('own', 3 * PIECE));
  own.release();
  const fetch = async (content: Buffer) => {
    const held = await contents.holdRemote(manifestOf(content), GLOBEX);
    await deliver(held, 0, content);
    return held;
  };
  const isThere = async (content: Buffer): Promise<boolean> => {
    const held = await contents.holdRemote(manifestOf(content), GLOBEX);
    const there = held.has(0);
    held.release();
    return there;
  };
  (await fetch(a)).release();
  time.ms += 1000;
  const holdsB = await fetch(b);
  time.ms += 1000;
  (await fetch(c)).release();
  time.ms += 1000;
  const reservation = await contents.reserve(2 * PIECE - 3 * 32);
  t.deepEqual([await isThere(a), await isThere(b), await isThere(c)], [false, true, true]);
  const error = await refused(t, 'FILES_FULL', () => contents.reserve(2 * PIECE));
  t.is(error.metadata.quota, 'files.cacheBytes');
  t.false(await isThere(c));
  t.true(await isThere(b));
  reservation.release();
  reservation.release();
  (await contents.reserve(2 * PIECE)).release();
  await refused(t, 'FILES_FULL', () => contents.reserve(4 * PIECE));
  const still = await contents.hold(own.id);
  t.is((still && (await readWhole(still)).length) ?? 0, 3 * PIECE);
  still?.release();
  holdsB.release();
});
