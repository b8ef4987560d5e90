import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { appendFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { ShareStart } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { Deferred } from '../../src/client/deferred.js';
import { type FedgateClient, FedgateError, type SharedFile, type TransferProgress } from '../../src/client/index.js';
import { FakeFileService, lost, PIECE } from '../support/fake-file-service.js';
import { FakeGateway } from '../support/fake-gateway.js';
import { refused } from '../support/reasons.js';
import { temporaryFolder } from '../support/registry.js';

const test = anyTest as TestFn<{ gateway: FakeGateway; files: FakeFileService; undo: (() => unknown)[] }>;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const files = new FakeFileService();
  const gateway = await FakeGateway.start({ teardown: each => void undo.push(each) }, files.register);
  Object.assign(t.context, { gateway, files, undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

interface World {
  readonly files: FakeFileService;
  readonly gateway: FakeGateway;
  readonly client: FedgateClient;
  readonly folder: string;
}

type Context = ExecutionContext<{ gateway: FakeGateway; files: FakeFileService }>;

async function start(t: Context): Promise<World> {
  const { files, gateway } = t.context;
  files.reset();
  return { files, gateway, client: await gateway.connect(t), folder: await temporaryFolder(t) };
}

/** A file of random bytes, some of them behind the last whole piece. */
async function makeFile(folder: string, pieces = 3): Promise<{ path: string; bytes: Buffer }> {
  const bytes = randomBytes(pieces * PIECE + 12_345);
  const path = join(folder, 'source.bin');
  await writeFile(path, bytes);
  return { path, bytes };
}

/** Comparing megabytes with deepEqual takes seconds. */
const same = (t: Context, one: Buffer | undefined, other: Buffer): boolean => t.true(one?.equals(other));
const sharedBytes = ({ files }: World, id: string): Buffer | undefined => files.shares.get(id)?.bytes;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

test.serial('share: a path becomes a share with the same bytes, and all that was said of it', async t => {
  const world = await start(t);
  const { path, bytes } = await makeFile(world.folder);
  const progress: TransferProgress[] = [];
  const before = Date.now();
  const shared = await world.client.share(path, {
    audience: { orgs: ['GLOBEX'], nodes: ['INITECH/audit'], groups: ['friends'] },
    mediaType: 'application/x-test',
    expiresMs: 60_000,
    maxDownloads: 3,
    requiresApproval: true,
    onProgress: each => progress.push(each),
  });
  same(t, sharedBytes(world, shared.id), bytes);
  t.like(shared, { name: 'source.bin', mediaType: 'application/x-test', size: bytes.length, sha256: sha256(bytes) });
  t.like(shared, { maxDownloads: 3, requiresApproval: true });
  t.deepEqual(shared.audience, { orgs: ['GLOBEX'], nodes: ['INITECH/audit'], groups: ['friends'], anyone: false });
  t.true((shared.expireTimeMs ?? 0) >= before + 60_000 && (shared.expireTimeMs ?? 0) <= Date.now() + 60_000);
  t.deepEqual(progress.at(-1), { doneBytes: bytes.length, totalBytes: bytes.length, resumedBytes: 0 });
});

test.serial('share: streams of any chunks, with and without a size, and an empty one', async t => {
  const world = await start(t);
  const bytes = randomBytes(2 * PIECE + 77);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += 33_333) yield bytes.subarray(at, at + 33_333);
  }
  const one = await world.client.share(pieces(), { sizeBytes: bytes.length });
  same(t, sharedBytes(world, one.id), bytes);
  const two = await world.client.share(Readable.from([bytes, Buffer.alloc(0), 'text']), { name: 'two' });
  same(t, sharedBytes(world, two.id), Buffer.concat([bytes, Buffer.from('text')]));
  t.is(two.name, 'two');
  t.is((await world.client.share(Readable.from([]))).size, 0);
  await writeFile(join(world.folder, 'empty'), '');
  t.is((await world.client.share(join(world.folder, 'empty'))).size, 0);
});

test.serial(
  'share: a path goes on from what was committed when the connection breaks, and is answered once',
  async t => {
    const world = await start(t);
    const { path, bytes } = await makeFile(world.folder);
    let breaks = 0;
    world.files.onUpload = ({ offset }) =>
      offset >= (breaks + 1) * PIECE && breaks < 2 && ++breaks ? lost() : undefined;
    const shared = await world.client.share(path);
    t.is(breaks, 2);
    t.deepEqual(world.files.uploadOffsets, [0, PIECE, 2 * PIECE]);
    same(t, sharedBytes(world, shared.id), bytes);
  },
);

test.serial(
  'share: goes on in another process under the same upload id, after comparing; another file is FILE_CHANGED',
  async t => {
    const world = await start(t);
    const { path, bytes } = await makeFile(world.folder);
    const uploadId = randomBytes(16);
    const ended = new AbortController();
    world.files.onUpload = ({ offset }) => {
      if (offset >= 2 * PIECE) ended.abort();
      return undefined;
    };
    await refused(t, 'CANCELLED', () => world.client.share(path, { uploadId, signal: ended.signal }));
    t.deepEqual(world.files.cancelled, []);
    world.files.onUpload = () => undefined;
    const other = await world.gateway.connect(t);

    const changed = Buffer.from(bytes);
    changed[5] = (changed[5] ?? 0) ^ 1;
    await writeFile(join(world.folder, 'changed.bin'), changed);
    await refused(t, 'FILE_CHANGED', () => other.share(join(world.folder, 'changed.bin'), { uploadId }));
    await refused(t, 'FILE_CHANGED', () => other.share(Readable.from([changed]), { uploadId }));

    const progress: TransferProgress[] = [];
    const shared = await other.share(path, { uploadId, onProgress: each => progress.push(each) });
    t.true((progress[0]?.resumedBytes ?? 0) >= PIECE);
    t.is(world.files.uploadOffsets.at(-1), progress[0]?.doneBytes);
    same(t, sharedBytes(world, shared.id), bytes);
    // It is finished: the same again is the same share, and another file is not.
    t.is((await other.share(path, { uploadId })).id, shared.id);
    await refused(t, 'FILE_CHANGED', () => other.share(join(world.folder, 'changed.bin'), { uploadId }));
  },
);

test.serial('share: what an older call wrote while this one began is compared and gone on behind', async t => {
  const world = await start(t);
  const { path, bytes } = await makeFile(world.folder, 4);
  for (const [pieces, late] of [
    [1, 2],
    [0, 1],
  ] as const) {
    for (const changed of [false, true]) {
      world.files.reset();
      const uploadId = randomBytes(16);
      const name = uploadId.toString('hex');
      const begun = { start: ShareStart.fromPartial({ uploadId }), pending: Buffer.alloc(0) };
      const upload = { ...begun, bytes: bytes.subarray(0, pieces * PIECE) };
      world.files.uploads.set(name, upload);
      let wrote = false;
      world.files.onUpload = () => {
        if (wrote) return undefined;
        wrote = true;
        const written = Buffer.from(bytes.subarray(0, (pieces + late) * PIECE));
        if (changed) written[pieces * PIECE] = (written[pieces * PIECE] ?? 0) ^ 1;
        upload.bytes = written;
        return undefined;
      };
      const sharing = (): Promise<SharedFile> => world.client.share(path, { uploadId });
      if (changed) await refused(t, 'FILE_CHANGED', sharing);
      else same(t, sharedBytes(world, (await sharing()).id), bytes);
      t.true(wrote);
    }
  }
  // One that is overtaken for ever is told so.
  world.files.reset();
  world.files.onUpload = () => new FedgateError('OFFSET_INVALID', 'never right');
  await refused(t, 'OFFSET_INVALID', () => world.client.share(path));
});

test.serial('share: a stream that broke off is OUTCOME_UNKNOWN, and goes on with the same id and bytes', async t => {
  const world = await start(t);
  const bytes = randomBytes(3 * PIECE + 5);
  const uploadId = randomBytes(16);
  world.files.onUpload = ({ offset }) => (offset >= 2 * PIECE ? lost() : undefined);
  await refused(t, 'OUTCOME_UNKNOWN', () => world.client.share(Readable.from([bytes]), { uploadId }));
  world.files.onUpload = () => undefined;
  const shared = await world.client.share(Readable.from([bytes]), { uploadId });
  t.is(world.files.uploadOffsets.at(-1), 2 * PIECE);
  same(t, sharedBytes(world, shared.id), bytes);
});

test.serial(
  'share: a file that changes meanwhile is FILE_CHANGED, nothing is shared, and the upload is given up',
  async t => {
    for (const change of [
      (path: string) => utimesSync(path, 1, 1),
      (path: string) => truncateSync(path, PIECE),
      (path: string) => appendFileSync(path, 'more'),
    ]) {
      const world = await start(t);
      const { path } = await makeFile(world.folder);
      await refused(t, 'FILE_CHANGED', () => world.client.share(path, { onProgress: () => change(path) }));
      t.is(world.files.shares.size, 0);
      for (const giveUp = Date.now() + 10_000; world.files.cancelled.length === 0 && Date.now() < giveUp; )
        await new Promise(resolve => setTimeout(resolve, 10));
      t.is(world.files.cancelled.length, 1);
    }
  },
);

test.serial('share: only regular files, and links only when they are to be followed', async t => {
  const { client, folder } = await start(t);
  const { path } = await makeFile(folder, 1);
  await symlink(path, join(folder, 'link'));
  await mkdir(join(folder, 'folder'));
  for (const each of [join(folder, 'folder'), join(folder, 'none'), '/dev/null'])
    t.regex((await refused(t, 'FILE_UNUSABLE', () => client.share(each))).message, /cannot be shared/);
  for (const each of [undefined, 7, Buffer.from('bytes')])
    await refused(t, 'FIELD_INVALID', () => client.share(each as unknown as string));
  await refused(t, 'FILE_UNUSABLE', () => client.share(join(folder, 'link'), { followLinks: false }));
  t.is((await client.share(join(folder, 'link'))).name, 'link');
});

test.serial('share: what the gateway refuses, and what the source throws, comes through as it is', async t => {
  const world = await start(t);
  const { path } = await makeFile(world.folder);
  world.files.onUpload = ({ offset }) =>
    offset >= PIECE
      ? new FedgateError('FILES_FULL', 'no room', { metadata: { limit: 'files.sharedBytes' } })
      : undefined;
  const error = await refused(t, 'FILES_FULL', () => world.client.share(path));
  t.is(error.metadata.limit, 'files.sharedBytes');
  world.files.onUpload = () => undefined;
  async function* broken() {
    yield Buffer.from('some');
    throw new Error('the source broke');
  }
  await t.throwsAsync(world.client.share(broken()), { message: 'the source broke' });
  await refused(t, 'FIELD_INVALID', () => world.client.share(path, { uploadId: Buffer.alloc(3) }));
  await refused(t, 'FIELD_INVALID', () => world.client.share(path, { expiresMs: -1 }));
  await refused(t, 'FIELD_INVALID', () => world.client.share(path, { maxDownloads: 2 ** 40 }));
});

test.serial('fetch: the same bytes, 0600, and nothing else is left', async t => {
  const world = await start(t);
  const bytes = randomBytes(3 * PIECE + 1);
  const id = world.files.add(bytes, '../../evil');
  const to = join(world.folder, 'out.bin');
  const progress: TransferProgress[] = [];
  const fetched = await world.client.fetch(id, { to, onProgress: each => progress.push(each) });
  same(t, await readFile(to), bytes);
  t.like(fetched, { path: to, resumedBytes: 0 });
  t.is(fetched.share.sha256, sha256(bytes));
  t.is((await stat(to)).mode & 0o777, 0o600);
  t.deepEqual(await readdir(world.folder), ['out.bin']);
  t.deepEqual(progress.at(-1), { doneBytes: bytes.length, totalBytes: bytes.length, resumedBytes: 0 });
  const empty = world.files.add(Buffer.alloc(0));
  await world.client.fetch(empty, { to: join(world.folder, 'empty') });
  t.is((await stat(join(world.folder, 'empty'))).size, 0);
});

test.serial('fetch: goes on by itself at the very byte where the connection broke', async t => {
  const world = await start(t);
  const bytes = randomBytes(3 * PIECE + 1);
  const id = world.files.add(bytes);
  const at = [PIECE + PIECE / 4, 2 * PIECE];
  world.files.onFetch = chunk => {
    if (chunk.offset !== at[0]) return chunk;
    at.shift();
    return lost();
  };
  const to = join(world.folder, 'out.bin');
  await world.client.fetch(id, { to });
  same(t, await readFile(to), bytes);
  t.deepEqual(
    world.files.fetches.map(({ offset }) => offset),
    [0, PIECE + PIECE / 4, 2 * PIECE],
  );
  t.is(new Set(world.files.fetches.map(({ downloadId }) => downloadId)).size, 1);
});

test.serial(
  'fetch: another process goes on from the last whole piece, as the same download, and asks for nothing twice',
  async t => {
    const world = await start(t);
    const bytes = randomBytes(4 * PIECE + 1);
    const id = world.files.add(bytes);
    const to = join(world.folder, 'out.bin');
    const ended = new AbortController();
    const stop = ({ doneBytes }: TransferProgress): void => void (doneBytes > 2.5 * PIECE && ended.abort());
    await refused(t, 'CANCELLED', () => world.client.fetch(id, { to, signal: ended.signal, onProgress: stop }));
    t.deepEqual((await readdir(world.folder)).sort(), ['out.bin.part', 'out.bin.part.json']);
    const other = await world.gateway.connect(t);
    const { resumedBytes } = await other.fetch(id, { to });
    t.is(resumedBytes, 2 * PIECE);
    same(t, await readFile(to), bytes);
    t.deepEqual(
      world.files.fetches.map(({ offset }) => offset),
      [0, 2 * PIECE],
    );
    t.is(new Set(world.files.fetches.map(({ downloadId }) => downloadId)).size, 1);
    t.deepEqual(await readdir(world.folder), ['out.bin']);
  },
);

/** A part of two and a half pieces, as an ended call leaves it. */
async function leavePart(t: Context, world: World, id: string, to: string): Promise<void> {
  const ended = new AbortController();
  const onProgress = ({ doneBytes }: TransferProgress): void => void (doneBytes > 2.5 * PIECE && ended.abort());
  await refused(t, 'CANCELLED', () => world.client.fetch(id, { to, signal: ended.signal, onProgress }));
}

test.serial('fetch: what changed in the part is found out and asked for again', async t => {
  const world = await start(t);
  const bytes = randomBytes(4 * PIECE + 1);
  const id = world.files.add(bytes);
  const to = join(world.folder, 'out.bin');
  await leavePart(t, world, id, to);
  const handle = await open(`${to}.part`, 'r+');
  await handle.write(Buffer.from('xxxx'), 0, 4, PIECE + 9);
  await handle.close();
  t.is((await world.client.fetch(id, { to })).resumedBytes, PIECE);
  same(t, await readFile(to), bytes);
});

test.serial('fetch: the part of another share, or of another content, is begun anew', async t => {
  const world = await start(t);
  const to = join(world.folder, 'out.bin');
  const first = world.files.add(randomBytes(4 * PIECE));
  await leavePart(t, world, first, to);
  const bytes = randomBytes(3 * PIECE);
  t.is((await world.client.fetch(world.files.add(bytes), { to })).resumedBytes, 0);
  same(t, await readFile(to), bytes);

  const again = join(world.folder, 'again.bin');
  await leavePart(t, world, first, again);
  const replaced = world.files.shares.get(world.files.add(bytes));
  t.truthy(replaced);
  if (replaced) world.files.shares.set(first, replaced);
  t.is((await world.client.fetch(first, { to: again })).resumedBytes, 0);
  same(t, await readFile(again), bytes);
});

test.serial('fetch: what is there stays, also when it came to be there meanwhile; overwrite replaces it', async t => {
  const world = await start(t);
  const bytes = randomBytes(2 * PIECE);
  const id = world.files.add(bytes);
  const to = join(world.folder, 'out.bin');
  await writeFile(to, 'mine');
  t.regex((await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to }))).message, /is there already/);
  t.is(world.files.fetches.length, 0);
  await world.client.fetch(id, { to, overwrite: true });
  same(t, await readFile(to), bytes);

  const late = join(world.folder, 'late.bin');
  const onProgress = (): void => writeFileSync(late, 'mine');
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: late, onProgress }));
  t.is(await readFile(late, 'utf8'), 'mine');

  await symlink(join(world.folder, 'nowhere'), join(world.folder, 'dangling'));
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: join(world.folder, 'dangling') }));
});

test.serial(
  'fetch: what is no regular file is not replaced, and a folder is no file: nothing is asked for',
  async t => {
    const world = await start(t);
    const id = world.files.add(randomBytes(10));
    const path = (name: string): string => join(world.folder, name);
    await mkdir(path('folder'));
    execFileSync('mkfifo', [path('pipe')]);
    const cases: readonly (readonly [string, RegExp])[] = [
      [path('folder'), /folder: is no regular file, and is not replaced/],
      [path('pipe'), /pipe: is no regular file, and is not replaced/],
      ['/dev/null', /null: is no regular file, and is not replaced/],
      [`${path('new')}/`, /new\/: names a folder/],
      [join(path('nowhere'), 'file'), /file: there is no folder .*nowhere$/],
    ];
    for (const [to, message] of cases) {
      const { message: told } = await refused(t, 'FILE_UNUSABLE', () =>
        world.client.fetch(id, { to, overwrite: true }),
      );
      t.regex(told, message);
    }
    t.deepEqual([world.files.fetches.length, world.files.looks.length], [0, 0]);
    t.deepEqual((await readdir(world.folder)).sort(), ['folder', 'pipe']);
    t.true((await stat('/dev/null')).isCharacterDevice() && (await stat(path('pipe'))).isFIFO());
  },
);

test.serial('fetch: a name that leaves no room behind it is fetched and gone on with all the same', async t => {
  const world = await start(t);
  const bytes = randomBytes(4 * PIECE);
  const id = world.files.add(bytes);
  // Names of 255 bytes whose first 240 are the same, cut in the middle of a character.
  const names = ['a', 'b'].map(last => `${'\u00e9'.repeat(127)}${last}`);
  for (const name of names) await leavePart(t, world, id, join(world.folder, name));
  for (const name of names) {
    t.is((await world.client.fetch(id, { to: join(world.folder, name) })).resumedBytes, 2 * PIECE);
    same(t, await readFile(join(world.folder, name)), bytes);
  }
  t.deepEqual((await readdir(world.folder)).sort(), names);
});

test.serial('fetch: while one call fetches to a path, no other does, in this process or elsewhere', async t => {
  const world = await start(t);
  const bytes = randomBytes(4 * PIECE);
  const id = world.files.add(bytes);
  const to = join(world.folder, 'out.bin');
  const gate = new Deferred<void>();
  const begun = new Deferred<void>();
  world.files.onFetch = async chunk => {
    if (chunk.offset === 2 * PIECE) {
      begun.resolve();
      await gate.promise;
    }
    return chunk;
  };
  const first = world.client.fetch(id, { to });
  await begun.promise;
  const lock = await readFile(`${to}.part.lock`, 'utf8');
  const busy = await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to, overwrite: true }));
  t.regex(busy.message, new RegExp(`another call fetches to it \\(process ${process.pid}\\)`));
  gate.resolve();
  await first;
  same(t, await readFile(to), bytes);
  t.deepEqual(await readdir(world.folder), ['out.bin']);

  // The same as another process says it, as one that was killed has left it, and as one whose number another process has by now.
  const other = spawn('sleep', ['1000']);
  t.teardown(() => other.kill());
  const stats = await readFile(`/proc/${other.pid}/stat`, 'utf8').catch(() => '');
  const started = stats.slice(stats.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  const left = { ...JSON.parse(lock), pid: other.pid, started };
  const again = join(world.folder, 'again.bin');
  await writeFile(`${again}.part.lock`, JSON.stringify(left));
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: again }));
  await writeFile(`${again}.part.lock`, JSON.stringify({ ...left, started: '1' }));
  await world.client.fetch(id, { to: again });
  await writeFile(`${again}.part.lock`, JSON.stringify(left));
  other.kill('SIGKILL');
  await once(other, 'exit');
  await world.client.fetch(id, { to: again, overwrite: true });
  same(t, await readFile(again), bytes);
  await writeFile(`${again}.part.lock`, 'somebody else needs this');
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: again, overwrite: true }));
  t.is(await readFile(`${again}.part.lock`, 'utf8'), 'somebody else needs this');
});

test.serial('fetch: what a killed call left beside a file that it had made is removed', async t => {
  const world = await start(t);
  const bytes = randomBytes(2 * PIECE);
  const id = world.files.add(bytes);
  const to = join(world.folder, 'out.bin');
  const sidecar = { version: 1, share: id, manifestSha256: 'ab', downloadId: '0'.repeat(32) };
  const dead = { version: 1, token: 'dead', pid: process.pid, started: '1' };
  const leave = async (...suffixes: string[]): Promise<void> => {
    if (suffixes.includes('.part')) await link(to, `${to}.part`);
    if (suffixes.includes('.part.json')) await writeFile(`${to}.part.json`, JSON.stringify(sidecar));
    if (suffixes.includes('.part.lock')) await writeFile(`${to}.part.lock`, JSON.stringify(dead));
  };
  for (const suffixes of [['.part', '.part.json', '.part.lock'], ['.part.json', '.part.lock'], ['.part.lock']]) {
    await writeFile(to, bytes);
    await leave(...suffixes);
    await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to }));
    t.deepEqual(await readdir(world.folder), ['out.bin'], suffixes.join());
    await leave(...suffixes);
    await world.client.fetch(id, { to, overwrite: true });
    t.deepEqual(await readdir(world.folder), ['out.bin'], suffixes.join());
    same(t, await readFile(to), bytes);
  }

  // What is of another file, or that we know nothing of, stays.
  await leave('.part');
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to }));
  t.deepEqual(await readdir(world.folder), ['out.bin', 'out.bin.part']);
  await rm(`${to}.part`);
  await leave('.part.json');
  await writeFile(`${to}.part`, 'of a download that replaces it');
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to }));
  t.deepEqual((await readdir(world.folder)).sort(), ['out.bin', 'out.bin.part', 'out.bin.part.json']);
});

test.serial('fetch: a call whose claim another has taken does not publish', async t => {
  const world = await start(t);
  const id = world.files.add(randomBytes(2 * PIECE));
  const to = join(world.folder, 'out.bin');
  const other = { version: 1, token: 'another', pid: process.ppid, started: '' };
  const onProgress = (): void => writeFileSync(`${to}.part.lock`, JSON.stringify(other));
  const { message } = await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to, onProgress }));
  t.regex(message, /another call fetches to it/);
  t.deepEqual(JSON.parse(await readFile(`${to}.part.lock`, 'utf8')), other);
  t.deepEqual((await readdir(world.folder)).sort(), ['out.bin.part', 'out.bin.part.json', 'out.bin.part.lock']);
});

test.serial('fetch: files of others where the part belongs are neither followed nor removed', async t => {
  const world = await start(t);
  const id = world.files.add(randomBytes(2 * PIECE));
  const precious = join(world.folder, 'precious');
  await writeFile(precious, 'precious');
  const to = join(world.folder, 'out.bin');
  await writeFile(`${to}.part`, 'somebody else needs this');
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to }));
  t.is(await readFile(`${to}.part`, 'utf8'), 'somebody else needs this');

  // A pipe that nobody writes to keeps nobody waiting.
  for (const suffix of ['.part', '.part.json', '.part.lock']) {
    const planted = join(world.folder, `pipe${suffix}`);
    execFileSync('mkfifo', [planted]);
    await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: join(world.folder, 'pipe') }));
    t.true((await stat(planted)).isFIFO());
    await rm(planted);
  }

  for (const plant of [symlink, link]) {
    const planted = join(world.folder, `${plant.name}.bin`);
    const sidecar = { version: 1, share: id, manifestSha256: 'ab', downloadId: '0'.repeat(32) };
    await writeFile(`${planted}.part.json`, JSON.stringify(sidecar));
    await plant(precious, `${planted}.part`);
    await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: planted }));
    t.is(await readFile(precious, 'utf8'), 'precious');
  }
});

test.serial(
  'fetch: a bad piece never counts: asked for once more, then PIECE_MISMATCH, and a later call goes on before it',
  async t => {
    const world = await start(t);
    const bytes = randomBytes(3 * PIECE);
    const id = world.files.add(bytes);
    const to = join(world.folder, 'out.bin');
    const spoil = (times: number) => {
      let left = times;
      world.files.onFetch = chunk => {
        if (chunk.offset !== PIECE || left-- <= 0) return chunk;
        const data = Buffer.from(chunk.data);
        data[7] = (data[7] ?? 0) ^ 0x80;
        return { ...chunk, data };
      };
    };
    spoil(2);
    await refused(t, 'PIECE_MISMATCH', () => world.client.fetch(id, { to }));
    t.deepEqual(
      world.files.fetches.map(({ offset }) => offset),
      [0, PIECE],
    );
    spoil(1);
    t.is((await world.client.fetch(id, { to })).resumedBytes, PIECE);
    same(t, await readFile(to), bytes);
  },
);

test.serial('fetch: two pieces in each other’s place are refused', async t => {
  const world = await start(t);
  const bytes = randomBytes(2 * PIECE);
  const id = world.files.add(bytes);
  world.files.onFetch = ({ offset }) => {
    const from = offset < PIECE ? offset + PIECE : offset - PIECE;
    return { offset, data: bytes.subarray(from, from + PIECE / 4) };
  };
  await refused(t, 'PIECE_MISMATCH', () => world.client.fetch(id, { to: join(world.folder, 'out.bin') }));
});

test.serial('fetch: chunks with holes, repeated, beyond the end or too few end it', async t => {
  const world = await start(t);
  const id = world.files.add(randomBytes(2 * PIECE));
  for (const move of [1, -1, 2 * PIECE]) {
    world.files.onFetch = chunk => (chunk.offset === PIECE ? { ...chunk, offset: PIECE + move } : chunk);
    await refused(t, 'FRAME_MALFORMED', () => world.client.fetch(id, { to: join(world.folder, 'out.bin') }));
  }
  world.files.onFetch = chunk => ({ ...chunk, data: Buffer.concat([chunk.data, chunk.data]) });
  await refused(t, 'FRAME_MALFORMED', () => world.client.fetch(id, { to: join(world.folder, 'out.bin') }));
});

test.serial('fetch: manifests that lie are MANIFEST_INVALID, and nothing is left of them', async t => {
  const world = await start(t);
  const bytes = randomBytes(2 * PIECE);
  const id = world.files.add(bytes);
  const other = world.files.shares.get(world.files.add(randomBytes(2 * PIECE)))?.manifest;
  const lies: (typeof world.files.lie)[] = [
    ({ share }) => ({ share, manifest: undefined }),
    ({ share }) => ({ share, manifest: other }),
    ({ share, manifest }) => ({ share, manifest: manifest && { ...manifest, pieceSize: 4 * PIECE } }),
    ({ share, manifest }) => ({ share, manifest: manifest && { ...manifest, size: 5n } }),
    ({ share, manifest }) => ({ share, manifest: manifest && { ...manifest, pieceSize: 1 } }),
    ({ share, manifest }) => ({ share, manifest: manifest && { ...manifest, pieceSha256: Buffer.alloc(64) } }),
    ({ share, manifest }) => ({ share: { ...share, sha256: Buffer.alloc(32) }, manifest }),
    ({ share, manifest }) => ({ share: { ...share, manifestSha256: Buffer.alloc(32) }, manifest }),
  ];
  for (const lie of lies) {
    world.files.lie = lie;
    await refused(t, 'MANIFEST_INVALID', () => world.client.fetch(id, { to: join(world.folder, 'out.bin') }));
    t.deepEqual(await readdir(world.folder), []);
  }
});

test.serial(
  'fetch: pieces that are right of a whole that is not leave nothing, and the gateway is made to look',
  async t => {
    const world = await start(t);
    const size = 2 * PIECE + 1;
    const id = world.files.add(randomBytes(size), 'file', randomBytes(32));
    await refused(t, 'MANIFEST_INVALID', () => world.client.fetch(id, { to: join(world.folder, 'out.bin') }));
    t.deepEqual(await readdir(world.folder), []);
    t.deepEqual(
      world.files.fetches.map(({ offset, checksWhole }) => ({ offset, checksWhole })),
      [
        { offset: 0, checksWhole: true },
        { offset: size - 1, checksWhole: false },
      ],
    );
  },
);

test.serial('fetch: what is refused leaves nothing behind, and what cannot be written says so', async t => {
  const world = await start(t);
  const unknown = `share://ACME/${'0'.repeat(32)}`;
  await refused(t, 'SHARE_UNKNOWN', () => world.client.fetch(unknown, { to: join(world.folder, 'out.bin') }));
  t.deepEqual(await readdir(world.folder), []);
  const id = world.files.add(randomBytes(5));
  await refused(t, 'FILE_UNUSABLE', () => world.client.fetch(id, { to: join(world.folder, 'none', 'out.bin') }));
});

test.serial('fetch: it gives up when nothing moves for as long as it may', async t => {
  const world = await start(t);
  const id = world.files.add(randomBytes(2 * PIECE));
  world.files.onFetch = chunk => (chunk.offset === PIECE ? lost() : chunk);
  const to = join(world.folder, 'out.bin');
  await refused(t, 'GATEWAY_UNREACHABLE', () => world.client.fetch(id, { to, patienceMs: 2_000 }));
  t.true(world.files.fetches.length >= 2);
  world.files.onFetch = chunk => chunk;
  t.is((await world.client.fetch(id, { to })).resumedBytes, PIECE);
});

test.serial('fetch: goes on when the gateway is started again', async t => {
  const world = await start(t);
  const bytes = randomBytes(4 * PIECE);
  const id = world.files.add(bytes);
  const back = once(world.client, 'connected');
  const restarts: Promise<void>[] = [];
  world.files.onFetch = chunk => {
    if (chunk.offset < 2 * PIECE || restarts.length > 0) return chunk;
    restarts.push(world.gateway.stop().then(() => world.gateway.restart()));
    return lost();
  };
  const to = join(world.folder, 'out.bin');
  await world.client.fetch(id, { to });
  await back;
  same(t, await readFile(to), bytes);
});

test.serial(
  'signal: one that has fired asks for nothing; in the middle all three end with CANCELLED, and nothing listens on',
  async t => {
    const world = await start(t);
    const { path, bytes } = await makeFile(world.folder, 4);
    const id = world.files.add(bytes);
    const to = join(world.folder, 'out.bin');
    const readAll = async (signal: AbortSignal, read: () => void = () => undefined): Promise<void> => {
      for await (const part of await world.client.fetchStream(id, { signal })) if (part.length > 0) read();
    };
    const fired = AbortSignal.abort();
    await refused(t, 'CANCELLED', () => world.client.share(path, { signal: fired }));
    await refused(t, 'CANCELLED', () => world.client.fetch(id, { to, signal: fired }));
    await refused(t, 'CANCELLED', () => readAll(fired));
    t.deepEqual([world.files.fetches.length, world.files.uploadOffsets.length], [0, 0]);
    t.deepEqual(await readdir(world.folder), ['source.bin']);

    // The gateway stands still, and the program does not wait for it.
    const cases: readonly ((control: AbortController) => Promise<unknown>)[] = [
      ({ signal }) => world.client.fetch(id, { to, signal }),
      ({ signal }) => readAll(signal),
      ({ signal }) => world.client.share(Readable.from(silent()), { signal }),
    ];
    async function* silent(): AsyncGenerator<Buffer> {
      yield bytes;
      await new Promise(() => undefined);
    }
    for (const run of cases) {
      const control = new AbortController();
      const stands = new Deferred<void>();
      world.files.onFetch = chunk => {
        if (chunk.offset < 2 * PIECE) return chunk;
        stands.resolve();
        return new Promise(() => undefined);
      };
      world.files.onUpload = ({ offset }) => {
        if (offset >= 2 * PIECE) stands.resolve();
        return undefined;
      };
      const running = run(control);
      await stands.promise;
      control.abort();
      await refused(t, 'CANCELLED', () => running);
      t.is(getEventListeners(control.signal, 'abort').length, 0);
    }
    // What was to be gone on with is left, and is.
    world.files.onFetch = chunk => chunk;
    const control = new AbortController();
    t.true((await world.client.fetch(id, { to, signal: control.signal })).resumedBytes >= PIECE);
    await world.client.share(path, { signal: control.signal });
    await readAll(control.signal);
    t.is(getEventListeners(control.signal, 'abort').length, 0);
  },
);

test.serial(
  'close: transfers under way end at once with CANCELLED, and what is asked for afterwards does too',
  async t => {
    const world = await start(t);
    const { path, bytes } = await makeFile(world.folder, 4);
    const id = world.files.add(bytes);
    const to = join(world.folder, 'out.bin');
    // The gateway stands still.
    const stands = new Deferred<void>();
    world.files.onFetch = chunk => {
      if (chunk.offset < PIECE) return chunk;
      stands.resolve();
      return new Promise(() => undefined);
    };
    async function* silent(): AsyncGenerator<Buffer> {
      yield bytes;
      await new Promise(() => undefined);
    }
    const read = async (client: FedgateClient): Promise<void> => {
      for await (const part of await client.fetchStream(id)) t.true(part.length > 0);
    };
    const list = async (client: FedgateClient): Promise<void> => {
      for await (const share of client.listShares()) t.truthy(share);
    };
    const under = [read(world.client), world.client.fetch(id, { to }), world.client.share(Readable.from(silent()))];
    const ends = under.map(each => refused(t, 'CANCELLED', () => each));
    await stands.promise;
    world.client.close();
    for (const { message } of await Promise.all(ends)) t.is(message, 'the client is closed');
    for (const ask of [
      () => read(world.client),
      () => world.client.fetch(id, { to }),
      () => world.client.share(path),
      () => world.client.getShare(id),
      () => world.client.unshare(id),
      () => list(world.client),
    ])
      t.is((await refused(t, 'CANCELLED', ask)).message, 'the client is closed');

    world.files.onFetch = chunk => chunk;
    same(t, await readFile((await (await world.gateway.connect(t)).fetch(id, { to })).path), bytes);
  },
);

test.serial('fetchStream: whole, ranges, and the end of the loop ends the download', async t => {
  const world = await start(t);
  const bytes = randomBytes(3 * PIECE + 9);
  const id = world.files.add(bytes, 'name');
  const collect = async (offset?: number, length?: number): Promise<Buffer> => {
    const stream = await world.client.fetchStream(id, { offset, length });
    t.is(stream.share.name, 'name');
    const parts: Buffer[] = [];
    for await (const part of stream) parts.push(part);
    return Buffer.concat(parts);
  };
  same(t, await collect(), bytes);
  same(t, await collect(PIECE + 5), bytes.subarray(PIECE + 5));
  same(t, await collect(7, 2 * PIECE), bytes.subarray(7, 7 + 2 * PIECE));
  same(t, await collect(bytes.length), Buffer.alloc(0));
  await refused(t, 'FIELD_INVALID', () => world.client.fetchStream(id, { length: 0 }));
  for await (const _ of await world.client.fetchStream(id)) break;
  world.client.close();
});

test.serial('fetchStream: a bad piece throws before its end is given out', async t => {
  const world = await start(t);
  const id = world.files.add(randomBytes(3 * PIECE));
  world.files.onFetch = chunk => (chunk.offset === PIECE ? { ...chunk, data: Buffer.alloc(chunk.data.length) } : chunk);
  let taken = 0;
  await refused(t, 'PIECE_MISMATCH', async () => {
    for await (const bytes of await world.client.fetchStream(id)) taken += bytes.length;
  });
  t.true(taken >= PIECE && taken < 2 * PIECE);
});

test.serial('fetchStream: goes on in the middle of a piece when the connection breaks', async t => {
  const world = await start(t);
  const bytes = randomBytes(3 * PIECE);
  const id = world.files.add(bytes);
  let broke = false;
  world.files.onFetch = chunk => {
    if (chunk.offset !== PIECE + PIECE / 2 || broke) return chunk;
    broke = true;
    return lost();
  };
  const parts: Buffer[] = [];
  for await (const part of await world.client.fetchStream(id)) parts.push(part);
  same(t, Buffer.concat(parts), bytes);
  t.is(world.files.fetches.at(-1)?.offset, PIECE + PIECE / 2);
});
