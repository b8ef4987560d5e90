import { mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { pieceDigest } from '../../../src/files/manifest.js';
import { temporaryFolder } from '../../support/registry.js';
import {
  contentOf,
  deliver,
  filesIn,
  GLOBEX,
  manifestOf,
  nothing,
  openWorld,
  PIECE,
  pathOf,
  readWhole,
  sha256,
  share,
  startOf,
  writeUpTo,
} from './support.js';

const HOUR_MS = 3_600_000;

test('sweep: an upload that nobody goes on with is removed after its time, one that is written to is not', async t => {
  const world = await openWorld(t, { limits: { uploadKeepMs: HOUR_MS } });
  const { contents, time } = world;
  const content = contentOf('left', 2 * PIECE);
  const left = startOf(content.length);
  const open = startOf(content.length, { owner: 'shipping' });
  for (const start of [left, open]) {
    const upload = await contents.upload(start);
    await writeUpTo(upload, content, PIECE);
    await upload.close();
  }
  const writer = await contents.upload(open);
  time.ms += HOUR_MS - 1;
  t.is((await contents.sweep()).uploads, 0);
  time.ms += 2;
  t.is((await contents.sweep()).uploads, 1);
  t.is(await contents.findUpload(left.owner, left.uploadId), undefined);
  await writeUpTo(writer, content);
  const held = await writer.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
});

test('sweep: content that no share stands for stays for its time, and as long as somebody holds it', async t => {
  const world = await openWorld(t, { limits: { keepMs: HOUR_MS } });
  const { contents, time, folder } = world;
  const content = contentOf('dropped', PIECE);
  const held = await share(contents, content);
  await contents.dropShare(held.id, nothing);
  time.ms += 2 * HOUR_MS;
  t.is((await contents.sweep()).contents, 0);
  t.true((await readWhole(held)).equals(content));
  held.release();
  // Its time begins when it was used last.
  t.is((await contents.sweep()).contents, 0);
  time.ms += HOUR_MS + 1;
  t.is((await contents.sweep()).contents, 1);
  t.is(await contents.hold(held.id), undefined);
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
});

test('sweep: what was used is remembered across a restart', async t => {
  const world = await openWorld(t, { limits: { keepMs: HOUR_MS } });
  const content = contentOf('used', PIECE);
  const held = await share(world.contents, content);
  await world.contents.dropShare(held.id, nothing);
  world.time.ms += HOUR_MS - 1;
  held.release();
  const again = await world.restart();
  again.time.ms += 2;
  t.is((await again.contents.sweep()).contents, 0);
});

test('sweep: the cache is brought down to its size, the least recently used first', async t => {
  const world = await openWorld(t);
  const contents = ['a', 'b', 'c', 'd'].map(seed => contentOf(seed, PIECE));
  for (const content of contents) {
    const held = await world.contents.holdRemote(manifestOf(content), GLOBEX);
    await deliver(held, 0, content);
    held.release();
    world.time.ms += 1000;
  }
  // The first is used again.
  const [first] = contents as [Buffer];
  world.time.ms += 61_000;
  (await world.contents.holdRemote(manifestOf(first), GLOBEX)).release();
  const again = await world.restart({ cacheBytes: 2 * PIECE + 100 });
  t.is((await again.contents.sweep()).contents, 2);
  const there = await Promise.all(
    contents.map(async content => {
      const held = await again.contents.holdRemote(manifestOf(content), GLOBEX);
      const has = held.has(0);
      held.release();
      return has;
    }),
  );
  t.deepEqual(there, [true, false, false, true]);
});

test('sweep: files that nothing refers to go after an hour; nothing else does, and no link is followed', async t => {
  const world = await openWorld(t);
  const { contents, folder } = world;
  const held = await share(contents, contentOf('kept', PIECE));
  const kept = pieceDigest(held.manifest, 0);
  const [old, young] = ['old', 'young'].map(seed => sha256(Buffer.from(seed))) as [Buffer, Buffer];
  const ago = new Date(Date.now() - 2 * HOUR_MS);
  for (const digest of [old, young]) {
    await mkdir(dirname(pathOf(folder, digest)), { recursive: true });
    await writeFile(pathOf(folder, digest), 'orphan');
  }
  await utimes(pathOf(folder, old), ago, ago);
  await utimes(pathOf(folder, kept), ago, ago);
  const elsewhere = await temporaryFolder(t);
  await writeFile(join(elsewhere, 'precious'), 'precious');
  await utimes(join(elsewhere, 'precious'), ago, ago);
  await symlink(elsewhere, join(folder, 'files', 'pieces', 'zz'));
  const stray = join(dirname(pathOf(folder, kept)), 'stray');
  await writeFile(stray, 'stray');
  await utimes(stray, ago, ago);
  t.is((await contents.sweep()).files, 2);
  const { pieces } = await filesIn(folder);
  t.is(await readFile(join(elsewhere, 'precious'), 'utf8'), 'precious');
  t.deepEqual(pieces.sort(), [kept.toString('hex'), young.toString('hex'), 'zz'].sort());
  held.release();
});

test('sweep: who takes hold of a content in the same turn keeps it', async t => {
  const world = await openWorld(t, { limits: { keepMs: 0 } });
  for (let round = 0; round < 20; round++) {
    const content = contentOf(`round ${round}`, 1000);
    const held = await share(world.contents, content);
    await world.contents.dropShare(held.id, nothing);
    held.release();
    world.time.ms += 1000;
    const [, taken] = await Promise.all([world.contents.sweep(), world.contents.hold(held.id)]);
    if (taken) t.true((await readWhole(taken)).equals(content), `round ${round}`);
    taken?.release();
  }
  t.pass();
});
