import { randomBytes } from 'node:crypto';
import test from 'ava';
import { pieceDigest } from '../../../src/files/manifest.js';
import { refused } from '../../support/reasons.js';
import {
  contentOf,
  deliver,
  filesIn,
  GLOBEX,
  INITECH,
  idOf,
  MIB,
  manifestOf,
  never,
  nothing,
  openWorld,
  PIECE,
  readAll,
  readWhole,
  share,
  startOf,
  writeUpTo,
} from './support.js';

const SIZES = [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE];

for (const size of SIZES) {
  test(`share: ${size} bytes are read back as they came, also after a restart`, async t => {
    const world = await openWorld(t);
    const content = contentOf(`size ${size}`, size);
    const held = await share(world.contents, content);
    t.deepEqual(held.manifest, manifestOf(content));
    t.true(held.id.equals(idOf(content)));
    t.true(held.verified);
    t.true((await readWhole(held)).equals(content));
    held.release();
    const { contents } = await world.restart();
    const again = await contents.hold(idOf(content));
    t.truthy(again);
    if (!again) return;
    t.true(again.verified);
    t.deepEqual(again.manifest, manifestOf(content));
    t.is(again.bytesHeld(0, size), size);
    t.true((await readWhole(again)).equals(content));
    again.release();
  });
}

test('share: chunks of any size, across the ends of pieces, make the same content', async t => {
  const { contents, folder } = await openWorld(t);
  const content = contentOf('chunks', 2 * PIECE + 12_345);
  for (const chunk of [65_537, 1_000_003, 3 * PIECE]) {
    const upload = await contents.upload(startOf(content.length));
    await writeUpTo(upload, content, content.length, chunk);
    const held = await upload.finish(nothing);
    t.true(held.id.equals(idOf(content)), `${chunk}`);
    held.release();
  }
  const files = await filesIn(folder);
  t.is(files.pieces.length, 3);
  t.deepEqual(files.incoming, []);
});

test('share: a size that was not declared is found out', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('undeclared', PIECE + 7);
  const upload = await contents.upload(startOf(undefined));
  await writeUpTo(upload, content);
  const held = await upload.finish(nothing);
  t.true((await readWhole(held)).equals(content));
  held.release();
});

test('readPiece: begins where it is told, and gives the rest to the end', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('offsets', PIECE + 10);
  const held = await share(contents, content);
  for (const offset of [0, 1, 256 * 1024, 256 * 1024 + 1, PIECE - 1, PIECE]) {
    t.true((await readAll(held, 0, offset)).equals(content.subarray(offset, PIECE)), `${offset}`);
  }
  t.true((await readAll(held, 1, 4)).equals(content.subarray(PIECE + 4)));
  await t.throwsAsync(() => readAll(held, 2), { instanceOf: RangeError });
  await t.throwsAsync(() => readAll(held, 0, PIECE + 1), { instanceOf: RangeError });
  held.release();
});

test('readPiece: leaving early closes the file, and a signal ends it', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('leaving', PIECE);
  const held = await share(contents, content);
  for (let i = 0; i < 50; i++) for await (const _ of held.readPiece(0, 0, never())) break;
  const control = new AbortController();
  const reason = new Error('enough');
  const error = await t.throwsAsync(async () => {
    for await (const _ of held.readPiece(0, 0, control.signal)) control.abort(reason);
  });
  t.is(error, reason);
  await t.throwsAsync(() => readAllWith(held.readPiece(0, 0, control.signal)), { is: reason });
  held.release();
});

async function readAllWith(chunks: AsyncIterable<Buffer>): Promise<void> {
  for await (const _ of chunks);
}

test('chunks that were read do not change when more is read', async t => {
  const { contents } = await openWorld(t);
  const content = contentOf('fresh', PIECE);
  const held = await share(contents, content);
  const chunks: Buffer[] = [];
  for await (const chunk of held.readPiece(0, 0, never())) chunks.push(Buffer.from(chunk));
  t.is(new Set(chunks.map(({ buffer }) => buffer)).size, chunks.length);
  t.true(Buffer.concat(chunks).equals(content));
  held.release();
});

test('hold: nothing of an unknown digest', async t => {
  const { contents } = await openWorld(t);
  t.is(await contents.hold(randomBytes(32)), undefined);
});

test('receive: pieces come in any order, are there after a restart, and are not asked for again', async t => {
  const world = await openWorld(t);
  const content = contentOf('remote', 3 * PIECE + 5);
  const manifest = manifestOf(content);
  const held = await world.contents.holdRemote(manifest, GLOBEX);
  t.false(held.verified);
  t.false(held.has(2));
  t.true(await deliver(held, 2, content));
  t.true(await deliver(held, 3, content));
  t.true(held.has(2));
  t.is(held.bytesHeld(0, content.length), PIECE + 5);
  t.is(held.bytesHeld(2 * PIECE + 1, 10), 10);
  t.is(held.bytesHeld(PIECE, PIECE + 1), 1);
  t.true((await readAll(held, 2)).equals(content.subarray(2 * PIECE, 3 * PIECE)));
  await refused(t, 'FILE_DAMAGED', () => readAll(held, 0));
  held.release();

  const restarted = await world.restart();
  const again = await restarted.contents.holdRemote(manifest, GLOBEX);
  t.deepEqual(
    [0, 1, 2, 3].map(index => again.has(index)),
    [false, false, true, true],
  );
  t.is(await again.receive(2), undefined);
  for (const index of [0, 1]) t.true(await deliver(again, index, content));
  t.true((await readWhole(again)).equals(content));
  await again.judge(true);
  t.true(again.verified);
  again.release();
  const later = await (await restarted.restart()).contents.holdRemote(manifest, GLOBEX);
  t.true(later.verified);
  later.release();
});

test('receive: what is not the piece is refused and nothing of it is left', async t => {
  const { contents, folder } = await openWorld(t);
  const content = contentOf('mismatch', 2 * PIECE);
  const held = await contents.holdRemote(manifestOf(content), GLOBEX);
  const wrong = Buffer.from(content.subarray(0, PIECE));
  wrong.writeUInt8(wrong.readUInt8(77) ^ 1, 77);
  const attempts: (readonly [string, Buffer])[] = [
    ['a flipped bit', wrong],
    ['the other piece', content.subarray(PIECE)],
    ['too short', content.subarray(0, PIECE - 1)],
    ['nothing', Buffer.alloc(0)],
  ];
  for (const [what, bytes] of attempts) {
    const writer = await held.receive(0);
    await writer?.write(bytes);
    await refused(t, 'PIECE_MISMATCH', () => writer?.finish());
    t.false(held.has(0), what);
  }
  const writer = await held.receive(0);
  await writer?.write(content.subarray(0, PIECE));
  await refused(t, 'PIECE_MISMATCH', () => writer?.write(Buffer.of(1)));
  t.deepEqual(await filesIn(folder), { pieces: [], incoming: [] });
  t.true(await deliver(held, 0, content));
  held.release();
});

test('receive: two that write the same piece at once both end right, and it is stored once', async t => {
  const { contents, folder } = await openWorld(t);
  const content = contentOf('twice', PIECE);
  const held = await contents.holdRemote(manifestOf(content), GLOBEX);
  const writers = [await held.receive(0), await held.receive(0), await held.receive(0)];
  await Promise.all(writers.map(writer => writer?.write(content)));
  await writers[2]?.abandon();
  await Promise.all([writers[0]?.finish(), writers[1]?.finish()]);
  t.true(held.has(0));
  t.true((await readAll(held, 0)).equals(content));
  t.deepEqual(await filesIn(folder), { pieces: [pieceDigest(held.manifest, 0).toString('hex')], incoming: [] });
  held.release();
});

test('receive: a piece that the same organisation sent for another content is not asked for, nor after a restart', async t => {
  const world = await openWorld(t);
  const piece = contentOf('sent before', PIECE);
  const before = await world.contents.holdRemote(manifestOf(piece), GLOBEX);
  t.true(await deliver(before, 0, piece));
  before.release();
  for (const seed of ['first', 'second']) {
    const { contents } = seed === 'first' ? world : await world.restart();
    const held = await contents.holdRemote(manifestOf(Buffer.concat([contentOf(seed, PIECE), piece])), GLOBEX);
    t.false(held.has(1));
    t.is(await held.receive(1), undefined);
    t.true(held.has(1));
    t.true((await readAll(held, 1)).equals(piece));
    held.release();
  }
});

test('receive: what an own node shared, or another organisation sent, must be sent, and is stored once', async t => {
  const { contents, folder } = await openWorld(t);
  const content = contentOf('known', PIECE);
  const holds = [await share(contents, content)];
  for (const org of [GLOBEX, INITECH]) {
    const held = await contents.holdRemote(manifestOf(content), org);
    t.false(held.has(0));
    t.is(held.bytesHeld(0, PIECE), 0);
    await refused(t, 'FILE_DAMAGED', () => readAll(held, 0));
    t.true(await deliver(held, 0, content));
    t.true((await readAll(held, 0)).equals(content));
    holds.push(held);
  }
  t.is((await filesIn(folder)).pieces.length, 1);
  for (const held of holds) held.release();
});

test('judge: a content that is not what its manifest says is given to nobody any more', async t => {
  const world = await openWorld(t);
  const content = contentOf('liar', PIECE + 1);
  const manifest = { ...manifestOf(content), sha256: randomBytes(32) };
  const held = await world.contents.holdRemote(manifest, GLOBEX);
  const other = await world.contents.holdRemote(manifest, GLOBEX);
  for (const index of [0, 1]) await deliver(held, index, content);
  await held.judge(false);
  await refused(t, 'MANIFEST_INVALID', () => readAll(other, 0));
  await refused(t, 'MANIFEST_INVALID', () => other.receive(0));
  await refused(t, 'MANIFEST_INVALID', () => world.contents.holdRemote(manifest, GLOBEX));
  held.release();
  other.release();
  await refused(t, 'MANIFEST_INVALID', () => world.contents.holdRemote(manifest, GLOBEX));
  t.true(world.events.some(({ kind }) => kind === 'content-bad'));
  const again = await world.restart();
  await refused(t, 'MANIFEST_INVALID', () => again.contents.holdRemote(manifest, GLOBEX));
  t.deepEqual(await filesIn(world.folder), { pieces: [], incoming: [] });
  // The pieces were right, and so is a content that has them.
  const honest = await again.contents.holdRemote(manifestOf(content), GLOBEX);
  t.true(await deliver(honest, 0, content));
  honest.release();
});

test('equal pieces are stored once, within a content and across contents', async t => {
  const world = await openWorld(t);
  const zeros = Buffer.alloc(6 * PIECE + MIB);
  const held = await share(world.contents, zeros);
  const other = await share(world.contents, Buffer.concat([zeros.subarray(0, PIECE), contentOf('tail', 5)]));
  t.is((await filesIn(world.folder)).pieces.length, 3);
  t.true((await readWhole(held)).equals(zeros));
  held.release();
  await world.contents.dropShare(held.id, nothing);
  world.time.ms += 25 * 3_600_000;
  await world.contents.sweep();
  t.is((await filesIn(world.folder)).pieces.length, 2);
  t.is((await readWhole(other)).length, PIECE + 5);
  other.release();
});
