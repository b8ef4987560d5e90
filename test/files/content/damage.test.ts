import { mkdir, readFile, readlink, rm, stat, symlink, truncate, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { TABLE, uploadKey } from '../../../src/files/content/rows.js';
import { pieceDigest } from '../../../src/files/manifest.js';
import { damageRows } from '../../support/damage.js';
import { refused } from '../../support/reasons.js';
import { temporaryFolder } from '../../support/registry.js';
import { complaint } from './consistent.js';
import { flip } from './damage.js';
import {
  contentOf,
  deliver,
  filesIn,
  GLOBEX,
  idOf,
  manifestOf,
  never,
  nothing,
  openWorld,
  PIECE,
  pathOf,
  readAll,
  readWhole,
  sha256,
  share,
  startOf,
  writeUpTo,
} from './support.js';

type Damage = (folder: string, digest: Buffer) => Promise<void>;

const DAMAGES: readonly (readonly [string, Damage])[] = [
  ['a flipped bit', flip],
  ['a piece cut short', (folder, digest) => truncate(pathOf(folder, digest), PIECE - 1)],
  ['a piece cut to nothing', (folder, digest) => truncate(pathOf(folder, digest), 0)],
  ['a piece that is longer', (folder, digest) => truncate(pathOf(folder, digest), PIECE + 1)],
  ['a piece that is gone', (folder, digest) => unlink(pathOf(folder, digest))],
  ['a folder that is gone', (folder, digest) => rm(dirname(pathOf(folder, digest)), { recursive: true })],
];

for (const [what, damage] of DAMAGES) {
  test(`readPiece: ${what} is found, told of, taken out, and can come again`, async t => {
    const world = await openWorld(t);
    const content = contentOf(what, 2 * PIECE);
    const manifest = manifestOf(content);
    const held = await world.contents.holdRemote(manifest, GLOBEX);
    for (const index of [0, 1]) await deliver(held, index, content);
    await damage(world.folder, pieceDigest(manifest, 1));
    await refused(t, 'FILE_DAMAGED', () => readAll(held, 1));
    t.false(held.has(1));
    t.true(held.has(0));
    t.is(held.bytesHeld(0, content.length), PIECE);
    t.true(world.events.some(event => event.kind === 'piece-damaged' && event.sha256.equals(pieceDigest(manifest, 1))));
    await refused(t, 'FILE_DAMAGED', () => readAll(held, 1));
    t.deepEqual((await filesIn(world.folder)).pieces, [pieceDigest(manifest, 0).toString('hex')]);
    t.true(await deliver(held, 1, content));
    t.true(held.has(1));
    t.true((await readWhole(held)).equals(content));
    held.release();
  });
}

test('readPiece: a flipped bit is found whatever is read of the piece', async t => {
  const world = await openWorld(t);
  const content = contentOf('tail', PIECE);
  const held = await share(world.contents, content);
  await flip(world.folder, pieceDigest(held.manifest, 0));
  await refused(t, 'FILE_DAMAGED', () => readAll(held, 0, PIECE - 10));
  held.release();
});

test('share: what was damaged is healed by sharing it again, for all that have it', async t => {
  const world = await openWorld(t);
  const content = contentOf('healed', 2 * PIECE);
  const held = await share(world.contents, content);
  const other = await share(world.contents, Buffer.concat([content.subarray(PIECE), contentOf('else', 9)]));
  await flip(world.folder, pieceDigest(held.manifest, 1));
  await refused(t, 'FILE_DAMAGED', () => readAll(held, 1));
  t.false(other.has(0));
  const again = await share(world.contents, content);
  t.true(held.has(1));
  t.true((await readWhole(held)).equals(content));
  t.true((await readAll(other, 0)).equals(content.subarray(PIECE)));
  for (const one of [held, other, again]) one.release();
});

test('a piece that was taken out is known to be missing after a restart, and comes again', async t => {
  const world = await openWorld(t);
  const content = contentOf('missing', 2 * PIECE);
  const manifest = manifestOf(content);
  const held = await world.contents.holdRemote(manifest, GLOBEX);
  for (const index of [0, 1]) await deliver(held, index, content);
  await unlink(pathOf(world.folder, pieceDigest(manifest, 0)));
  await refused(t, 'FILE_DAMAGED', () => readAll(held, 0));
  held.release();
  const { contents, folder, time } = await world.restart();
  const again = await contents.holdRemote(manifest, GLOBEX);
  await refused(t, 'FILE_DAMAGED', () => readAll(again, 0));
  t.false(again.has(0));
  t.true(await deliver(again, 0, content));
  t.true((await readWhole(again)).equals(content));
  again.release();
  time.ms += 48 * 3_600_000;
  await contents.sweep();
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
});

test('links in the place of a piece are not followed, neither to read nor to write', async t => {
  const world = await openWorld(t);
  const content = contentOf('linked', PIECE);
  const manifest = manifestOf(content);
  const path = pathOf(world.folder, pieceDigest(manifest, 0));
  const victim = join(await temporaryFolder(t), 'victim');
  await writeFile(victim, content);
  await mkdir(dirname(path), { recursive: true });
  await symlink(victim, path);
  const held = await world.contents.holdRemote(manifest, GLOBEX);
  t.true(await deliver(held, 0, content));
  t.true((await stat(path)).isFile());
  t.true((await readAll(held, 0)).equals(content));

  await unlink(path);
  await symlink(victim, path);
  await refused(t, 'FILE_DAMAGED', () => readAll(held, 0));
  t.false(held.has(0));
  await t.throwsAsync(() => readlink(path), { code: 'ENOENT' });
  t.true((await readFile(victim)).equals(content));
  held.release();
});

test('links in the place of folders are refused', async t => {
  const elsewhere = await temporaryFolder(t);
  for (const name of ['files', 'files/pieces', 'files/incoming']) {
    const folder = await temporaryFolder(t);
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await symlink(elsewhere, join(folder, name));
    await refused(t, 'FILE_UNUSABLE', () => openWorld(t, { folder }));
    await rm(folder, { recursive: true });
  }
  const world = await openWorld(t);
  const content = contentOf('folders', PIECE);
  const name = sha256(content).toString('hex');
  await symlink(elsewhere, join(world.folder, 'files', 'pieces', name.slice(0, 2)));
  await refused(t, 'FILE_UNUSABLE', () => share(world.contents, content));
  t.deepEqual((await filesIn(world.folder)).incoming, []);
});

test('links and files planted in incoming are removed at the start, and what they point to is not', async t => {
  const world = await openWorld(t);
  const victim = join(await temporaryFolder(t), 'victim');
  await writeFile(victim, 'precious');
  const incoming = join(world.folder, 'files', 'incoming');
  await symlink(victim, join(incoming, 'link'));
  await writeFile(join(incoming, 'half'), 'half');
  await world.restart();
  t.deepEqual((await filesIn(world.folder)).incoming, []);
  t.is(await readFile(victim, 'utf8'), 'precious');
});

test('damaged rows: the start goes well, neighbours are untouched, and nothing leaks', async t => {
  const world = await openWorld(t);
  const contents = ['a', 'b', 'c', 'd', 'e'].map(seed => contentOf(seed, PIECE + 10));
  for (const content of contents) (await share(world.contents, content)).release();
  const start = startOf(3 * PIECE);
  const upload = await world.contents.upload(start);
  await writeUpTo(upload, contentOf('upload', 3 * PIECE), 2 * PIECE);
  await upload.close();
  await world.close();
  const [a, b, c, d, e] = contents as [Buffer, Buffer, Buffer, Buffer, Buffer];
  const store = join(world.folder, 'store');
  await damageRows(store, TABLE.content, idOf(a));
  await damageRows(store, TABLE.held, idOf(b));
  await damageRows(store, TABLE.piece, Buffer.from(pieceDigest(manifestOf(c), 0)));
  await damageRows(store, TABLE.upload, uploadKey(start.owner, start.uploadId));

  const again = await world.restart();
  t.is(await again.contents.hold(idOf(a)), undefined);
  t.is(await again.contents.findUpload(start.owner, start.uploadId), undefined);
  for (const content of [c, d, e]) {
    const held = await again.contents.hold(idOf(content));
    t.true(held && (await readWhole(held)).equals(content));
    held?.release();
  }
  const unsure = await again.contents.hold(idOf(b));
  t.false(unsure?.has(0));
  for (const index of [0, 1]) if (unsure) await deliver(unsure, index, b);
  t.true(unsure && (await readWhole(unsure)).equals(b));
  unsure?.release();
  const tables = new Set(again.events.flatMap(event => (event.kind === 'row-damaged' ? [event.table] : [])));
  for (const table of [TABLE.content, TABLE.held, TABLE.upload]) t.true(tables.has(table), table);

  // References are counted again, so that all of it goes when it may.
  await again.contents.sweep();
  for (const content of [c, d, e]) {
    const held = await again.contents.hold(idOf(content));
    t.true(held && (await readWhole(held)).equals(content));
    held?.release();
  }
  again.events.length = 0;
  await again.contents.scrub({ signal: never(), bytesPerSecond: 1e12 });
  await again.contents.sweep();
  t.deepEqual(
    again.events.filter(({ kind }) => kind === 'row-damaged'),
    [],
  );
  t.is(await complaint(again.folder, again.store), undefined);
  for (const content of [b, c, d, e]) await again.contents.dropShare(idOf(content), nothing);
  again.time.ms += 48 * 3_600_000;
  await again.contents.sweep();
  t.deepEqual(await filesIn(again.folder), { pieces: [], incoming: [] });
});

test('damaged rows: what a content held is forgotten, mended, and can come again', async t => {
  const world = await openWorld(t);
  const content = contentOf('forgotten', 2 * PIECE);
  (await share(world.contents, content)).release();
  await world.close();
  await damageRows(join(world.folder, 'store'), TABLE.held, idOf(content));
  const again = await world.restart();
  await again.contents.sweep();
  await again.contents.sweep();
  again.events.length = 0;
  const held = await again.contents.hold(idOf(content));
  t.false(held?.has(0));
  t.deepEqual(again.events, []);
  t.is(await complaint(again.folder, again.store), undefined);
  (await share(again.contents, content)).release();
  t.true(held?.has(0));
  t.true(held && (await readWhole(held)).equals(content));
  held?.release();
  t.is(await complaint(again.folder, again.store), undefined);
});

test('scrub: reads everything, takes bad pieces out, and says which', async t => {
  const world = await openWorld(t);
  const content = contentOf('scrubbed', 5 * PIECE + 1);
  const held = await share(world.contents, content);
  const bad = [1, 3].map(index => Buffer.from(pieceDigest(held.manifest, index)));
  for (const digest of bad) await flip(world.folder, digest);
  const steps: number[] = [];
  const outcome = await world.contents.scrub({
    signal: never(),
    onProgress: ({ pieces }) => steps.push(pieces),
    bytesPerSecond: 1e12,
  });
  t.deepEqual(outcome, { pieces: 6, bytes: content.length, damaged: 2 });
  t.deepEqual(steps, [1, 2, 3, 4, 5, 6]);
  const told = world.events.flatMap(event => (event.kind === 'piece-damaged' ? [event.sha256.toString('hex')] : []));
  t.deepEqual(told.sort(), bad.map(digest => digest.toString('hex')).sort());
  t.deepEqual(
    [0, 1, 2, 3, 4, 5].map(index => held.has(index)),
    [true, false, true, false, true, true],
  );
  t.is((await world.contents.scrub({ signal: never(), bytesPerSecond: 1e12 })).pieces, 4);
  held.release();
});

test('scrub: goes gently, and ends when it is told to', async t => {
  const world = await openWorld(t);
  (await share(world.contents, contentOf('gentle', 3 * PIECE))).release();
  const control = new AbortController();
  const reason = new Error('enough');
  // At this pace one piece takes more than an hour.
  const scrubbing = world.contents.scrub({
    signal: control.signal,
    onProgress: () => control.abort(reason),
    bytesPerSecond: 1000,
  });
  t.is(await t.throwsAsync(() => scrubbing), reason);
});
