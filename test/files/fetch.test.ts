import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { formatShareId } from '../../src/files/share-id.js';
import type { OrgName } from '../../src/identity/names.js';
import { FakeRemote, lost, manifestFor } from '../support/fake-remote.js';
import { refusal } from '../support/file-client.js';
import { FileWorld, type FileWorldOptions } from '../support/file-world.js';
import type { TestScope } from '../support/registry.js';

const MIB = 1024 * 1024;

interface Scene {
  readonly remote: FakeRemote;
  readonly world: FileWorld;
}

async function scene(t: TestScope, size: number, options: FileWorldOptions = {}, pieceSize = MIB): Promise<Scene> {
  const remote = new FakeRemote(size, pieceSize);
  return { remote, world: await FileWorld.open(t, { remote, ...options }) };
}

/** Lets a test hold the remote gateway's bytes back. */
function gate(): { readonly passed: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const passed = new Promise<void>(resolve => {
    open = resolve;
  });
  return { passed, open };
}

for (const size of [0, 1, MIB, 3 * MIB + 1, 12 * MIB]) {
  test(`fetch: ${size} bytes of another organisation come once, and then from the own disk`, async t => {
    const { remote, world } = await scene(t, size);
    const erp = await world.client('erp');
    t.true((await erp.fetch(remote.share()).bytes()).equals(remote.content));
    t.is(remote.sentBytes, size);
    const again = erp.fetch(remote.share());
    t.is((await again.opened()).cachedBytes, BigInt(size));
    t.true((await again.bytes()).equals(remote.content));
    t.is(remote.sentBytes, size);
    // It is asked for at the holder all the same.
    t.is(remote.downloads.length, 2);
    remote.refusal = new FedgateError('SHARE_UNKNOWN', 'not for the caller');
    t.is((await refusal(erp.fetch(remote.share()).bytes())).reason, 'SHARE_UNKNOWN');
  });
}

test('fetch: a range brings its pieces and no other', async t => {
  const { remote, world } = await scene(t, 10 * MIB);
  const erp = await world.client('erp');
  const request = { offset: BigInt(2 * MIB + 5), length: BigInt(2 * MIB) };
  const fetched = await erp.fetch(remote.share(), request).bytes(2 * MIB + 5);
  t.true(fetched.equals(remote.content.subarray(2 * MIB + 5, 4 * MIB + 5)));
  t.deepEqual([...remote.sent.keys()].sort(), [2, 3, 4]);
});

test('fetch: what is on the own disk answers for no share of an organisation that did not send it', async t => {
  const { remote, world } = await scene(t, 0);
  const [billing, erp, other] = [await world.client('billing'), await world.client('erp'), await world.client('other')];
  const own = randomBytes(MIB + 1);
  await billing.share(own);
  const stored = (await readdir(world.folder, { recursive: true })).length;
  const piecesOf = (content: Buffer): void => {
    remote.manifest = manifestFor(content, 4 * MIB);
    remote.piece = index => content.subarray(index * 4 * MIB, (index + 1) * 4 * MIB);
  };
  const ask = async (org: string, node = erp): Promise<readonly [cached: number, sent: number, bytes: Buffer]> => {
    const before = remote.sentBytes;
    const fetch = node.fetch(formatShareId({ org: org as OrgName, id: randomBytes(16) }));
    const { cachedBytes } = await fetch.opened();
    const bytes = await fetch.bytes();
    return [Number(cachedBytes), remote.sentBytes - before, bytes];
  };

  // Who knows the digest alone gets nothing, and learns nothing by what is asked for.
  piecesOf(own);
  remote.piece = () => Buffer.alloc(0);
  const claimed = erp.fetch(remote.share());
  t.is((await claimed.opened()).cachedBytes, 0n);
  t.is((await refusal(claimed.bytes())).reason, 'PIECE_MISMATCH');
  t.true((remote.asked.get(0) ?? 0) > 0);

  // Who sends it is believed, and it is stored once.
  piecesOf(own);
  const size = own.length;
  for (const org of ['GLOBEX', 'INITECH']) {
    const [cached, sent, bytes] = await ask(org);
    t.deepEqual([cached, sent, bytes.equals(own)], [0, size, true], org);
    t.deepEqual((await ask(org, other)).slice(0, 2), [size, 0], org);
  }
  t.is((await readdir(world.folder, { recursive: true })).length, stored);

  // The same of a piece in another content: GLOBEX has sent its first one, and HOOLI has not.
  const first = randomBytes(4 * MIB);
  piecesOf(first);
  t.is((await ask('GLOBEX'))[1], first.length);
  piecesOf(Buffer.concat([first, own]));
  t.is((await ask('GLOBEX'))[1], 0);
  t.is((await ask('HOOLI'))[1], first.length + own.length);

  // Nor is what one sends at the moment taken for what the other does.
  piecesOf(randomBytes(2 * MIB));
  const before = remote.sentBytes;
  await Promise.all([ask('GLOBEX'), ask('INITECH'), ask('GLOBEX', other)]);
  t.is(remote.sentBytes - before, 4 * MIB);
});

test('fetch: many at once ask for each piece once', async t => {
  const { remote, world } = await scene(t, 12 * MIB);
  const clients = await Promise.all(['a', 'b', 'c', 'd'].map(name => world.client(name)));
  const fetched = await Promise.all(clients.map(client => client.fetch(remote.share()).bytes()));
  for (const bytes of fetched) t.true(bytes.equals(remote.content));
  t.is(remote.sentBytes, 12 * MIB);
});

test('fetch: when the one that brings a piece leaves, another goes on with it', async t => {
  const { remote, world } = await scene(t, 3 * MIB);
  const [leaver, stayer] = [await world.client('leaver'), await world.client('stayer')];
  const held = gate();
  remote.pace = (index, offset) =>
    index === 0 && offset === MIB / 2 && remote.downloads.length < 2 ? held.passed : undefined;
  const leaving = leaver.fetch(remote.share());
  await leaving.opened();
  const staying = stayer.fetch(remote.share()).bytes();
  while (remote.downloads.length < 2) await new Promise(resolve => setTimeout(resolve, 10));
  await leaving.leave();
  held.open();
  t.true((await staying).equals(remote.content));
});

test('fetch: a link that drops now and then costs no byte twice, and counts as one download', async t => {
  const { remote, world } = await scene(t, 12 * MIB);
  const erp = await world.client('erp');
  let drops = 0;
  remote.pace = (index, offset) => {
    if (offset === MIB / 2 && index % 3 === 1 && drops < 4 && (remote.sent.get(index) ?? 0) === MIB / 2) {
      drops++;
      remote.end();
    }
    return undefined;
  };
  t.true((await erp.fetch(remote.share()).bytes()).equals(remote.content));
  t.true(drops >= 3, `${drops}`);
  t.is(new Set(remote.downloads).size, 1);
  t.is(remote.sentBytes, 12 * MIB);
});

test('fetch: a link that stays away ends the fetch, and what came is not asked for again', async t => {
  const { remote, world } = await scene(t, 6 * MIB, { patienceMs: 1_500 });
  const erp = await world.client('erp');
  let came = 0;
  let threeCame = (): void => undefined;
  const three = new Promise<void>(resolve => {
    threeCame = resolve;
  });
  remote.pace = async index => {
    if (index < 3) return;
    // Pieces come side by side: the link goes when the first three are whole.
    await three;
    remote.refusal = lost();
    remote.end();
  };
  const share = remote.share();
  const error = await refusal(
    (async () => {
      for await (const chunk of erp.fetch(share).chunks()) {
        came += chunk.length;
        if (came >= 3 * MIB) threeCame();
      }
    })(),
  );
  t.like(error, { reason: 'PEER_UNREACHABLE', status: 'UNAVAILABLE' });
  remote.refusal = undefined;
  remote.pace = () => undefined;
  await world.restart();
  const again = await world.client('erp');
  const rest = await again.fetch(share, { offset: BigInt(came) }).bytes(came);
  t.true(rest.equals(remote.content.subarray(came)));
  for (const index of [0, 1, 2]) t.is(remote.sent.get(index), MIB, `piece ${index}`);
});

test('fetch: a piece that is wrong once is asked for again, and nobody gets the wrong one', async t => {
  const { remote, world } = await scene(t, 4 * MIB);
  const erp = await world.client('erp');
  const { piece } = remote;
  remote.piece = (index, asked) => (index === 2 && asked < 2 ? randomBytes(MIB) : piece(index, asked));
  t.true((await erp.fetch(remote.share()).bytes()).equals(remote.content));
  t.is(remote.asked.get(2), 3);
  t.deepEqual(
    world.bad.map(({ error, org, final }) => [error.reason, org, final]),
    [
      ['PIECE_MISMATCH', 'GLOBEX', false],
      ['PIECE_MISMATCH', 'GLOBEX', false],
    ],
  );
});

for (const [what, lie] of [
  ['other bytes', () => randomBytes(MIB)],
  [
    'one byte that is wrong',
    (piece: Buffer) => Buffer.concat([piece.subarray(0, MIB - 1), Buffer.of(~(piece.at(-1) ?? 0) & 0xff)]),
  ],
  ['too little', (piece: Buffer) => piece.subarray(0, MIB - 1)],
  ['too much', (piece: Buffer) => Buffer.concat([piece, Buffer.of(0)])],
  ['nothing', () => Buffer.alloc(0)],
] as const) {
  test(`fetch: ${what} for a piece, again and again, ends the fetch before it, and is an alarm`, async t => {
    const { remote, world } = await scene(t, 4 * MIB);
    const erp = await world.client('erp');
    const { piece } = remote;
    remote.piece = (index, asked) => (index === 2 ? lie(piece(index, asked)) : piece(index, asked));
    const share = remote.share();
    const came: Buffer[] = [];
    const error = await refusal(
      (async () => {
        for await (const chunk of erp.fetch(share).chunks()) came.push(Buffer.from(chunk));
      })(),
    );
    t.like(error, { reason: 'PIECE_MISMATCH', status: 'DATA_LOSS' });
    t.true(Buffer.concat(came).equals(remote.content.subarray(0, 2 * MIB)));
    t.is(remote.asked.get(2), 4);
    t.like(world.bad.at(-1), { org: 'GLOBEX', final: true });
    // Once it is sent as it should be, only what is missing is asked for.
    remote.piece = piece;
    t.true((await erp.fetch(share).bytes()).equals(remote.content));
    t.is(remote.asked.get(0), 1);
  });
}

test('fetch: two pieces that are swapped are refused', async t => {
  const { remote, world } = await scene(t, 4 * MIB);
  const { piece } = remote;
  remote.piece = (index, asked) => piece(index === 1 ? 2 : index === 2 ? 1 : index, asked);
  const error = await refusal((await world.client('erp')).fetch(remote.share()).bytes());
  t.is(error.reason, 'PIECE_MISMATCH');
});

for (const [what, request] of [
  ['the whole', {}],
  ['a range', { offset: 1n }],
] as const) {
  test(`fetch: a file whose pieces are right and whose digest is wrong is nobody's, found by reading ${what}`, async t => {
    const { remote, world } = await scene(t, 4 * MIB);
    remote.manifest = { ...manifestFor(remote.content), sha256: randomBytes(32) };
    const erp = await world.client('erp');
    const from = Number('offset' in request ? request.offset : 0n);
    const first = await erp
      .fetch(remote.share(), request)
      .bytes(from)
      .catch(error => error);
    // The last bytes of a whole are kept back; of a range, pieces that are right may have been handed on before all was there.
    if (from === 0) t.is(first.reason, 'MANIFEST_INVALID');
    if (from === 1)
      await erp
        .fetch(remote.share())
        .bytes()
        .catch(() => undefined);
    const error = await refusal(erp.fetch(remote.share()).bytes());
    t.like(error, { reason: 'MANIFEST_INVALID', status: 'PERMISSION_DENIED' });
    t.true(world.bad.some(({ error: bad, final }) => bad.reason === 'MANIFEST_INVALID' && final));
    await world.restart();
    t.is((await refusal((await world.client('erp')).fetch(remote.share()).bytes())).reason, 'MANIFEST_INVALID');
  });
}

test('fetch: who checks the whole is given all of it, and once somebody does not, it is found out and nobody’s', async t => {
  const { remote, world } = await scene(t, 4 * MIB);
  remote.manifest = { ...manifestFor(remote.content), sha256: randomBytes(32) };
  const erp = await world.client('erp');
  const bytes = await erp.fetch(remote.share(), { checksWhole: true }).bytes();
  t.true(bytes.equals(remote.content));
  t.is(world.bad.length, 0);
  const last = remote.content.length - 1;
  await erp
    .fetch(remote.share(), { offset: BigInt(last) })
    .bytes(last)
    .catch(() => undefined);
  while (world.bad.length === 0) await new Promise(resolve => setTimeout(resolve, 20));
  t.like(world.bad[0], { error: { reason: 'MANIFEST_INVALID' }, final: true });
  t.is((await refusal(erp.fetch(remote.share(), { checksWhole: true }).bytes())).reason, 'MANIFEST_INVALID');
});

test('fetch: who says that it checks the whole and leaves early is not relied on', async t => {
  const { remote, world } = await scene(t, 4 * MIB);
  remote.manifest = { ...manifestFor(remote.content), sha256: randomBytes(32) };
  const [leaver, erp] = [await world.client('leaver'), await world.client('erp')];
  const chunks = leaver.fetch(remote.share(), { checksWhole: true }).chunks();
  await chunks.next();
  await chunks.return?.(undefined);
  t.is((await refusal(erp.fetch(remote.share()).bytes())).reason, 'MANIFEST_INVALID');
});

test('fetch: a whole that came in ranges is read back and found right', async t => {
  const { remote, world } = await scene(t, 4 * MIB);
  const erp = await world.client('erp');
  await erp.fetch(remote.share(), { length: BigInt(2 * MIB) }).bytes();
  await erp.fetch(remote.share(), { offset: BigInt(2 * MIB) }).bytes(2 * MIB);
  for (;;) {
    const held = await world.contents.holdRemote(remote.manifest, remote.org);
    held.release();
    if (held.verified) break;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  t.is(world.bad.length, 0);
});

for (const cached of [false, true]) {
  test(`fetch: when the holder ends it the stream ends, with ${cached ? 'all' : 'nothing'} in the cache`, async t => {
    const { remote, world } = await scene(t, 64 * MIB);
    const erp = await world.client('erp');
    if (cached) await erp.fetch(remote.share()).bytes();
    const fetching = erp.fetch(remote.share());
    const chunks = fetching.chunks();
    await chunks.next();
    const error = new FedgateError('SHARE_ENDED', 'it is over', { metadata: { why: 'unshared' } });
    remote.refusal = error;
    remote.end(error);
    let rest = 0;
    const ended = await refusal(
      (async () => {
        for await (const chunk of chunks) rest += chunk.length;
      })(),
    );
    t.is(ended.reason, 'SHARE_ENDED');
    t.is(ended.metadata.why, 'unshared');
    t.true(rest < 24 * MIB, `${rest}`);
  });
}

test('fetch: what the share stands for changes when it is opened again: the fetch ends', async t => {
  const { remote, world } = await scene(t, 8 * MIB);
  remote.pace = index => {
    if (index === 5 && remote.opens === 1) {
      remote.manifest = manifestFor(randomBytes(MIB));
      remote.end();
    }
    return undefined;
  };
  t.is((await refusal((await world.client('erp')).fetch(remote.share()).bytes())).reason, 'FILE_CHANGED');
});

for (const reason of ['SHARE_UNKNOWN', 'APPROVAL_MISSING', 'FEATURE_UNSUPPORTED', 'PEER_UNREACHABLE'] as const) {
  test(`fetch: a first open that says ${reason} is the answer, at once`, async t => {
    const { remote, world } = await scene(t, MIB);
    remote.refusal = new FedgateError(reason, 'no');
    const erp = await world.client('erp');
    t.is((await refusal(erp.fetch(remote.share()).bytes())).reason, reason);
    t.is((await refusal(erp.getShare(remote.share()))).reason, reason);
  });
}

for (const reason of ['SHARE_UNKNOWN', 'SHARE_ENDED', 'NOT_GRANTED', 'POLICY_DENIED', 'ORG_INACTIVE'] as const) {
  test(`fetch: a link that drops, and behind it the word ${reason}, ends the fetch with that, at once`, async t => {
    const { remote, world } = await scene(t, 12 * MIB, { patienceMs: 3_600_000 });
    const erp = await world.client('erp');
    remote.pace = index => {
      if (index < 2) return undefined;
      remote.refusal = new FedgateError(reason, 'no more');
      remote.end();
      return undefined;
    };
    t.is((await refusal(erp.fetch(remote.share()).bytes())).reason, reason);
  });
}

test('fetch: a file that does not fit into the cache is refused before a byte is asked for; two that do not fit together', async t => {
  const { remote, world } = await scene(t, 6 * MIB, { limits: { cacheBytes: 8 * MIB } });
  const erp = await world.client('erp');
  const held = gate();
  remote.pace = () => held.passed;
  const first = erp.fetch(remote.share());
  await first.opened();
  const { manifest } = remote;
  remote.manifest = manifestFor(randomBytes(6 * MIB));
  const error = await refusal(erp.fetch(remote.share()).opened());
  t.like(error, { reason: 'FILES_FULL', status: 'RESOURCE_EXHAUSTED' });
  // The same file again needs no more room.
  remote.manifest = manifest;
  const same = erp.fetch(remote.share());
  await same.opened();
  held.open();
  t.true((await first.bytes()).equals(remote.content));
  t.true((await same.bytes()).equals(remote.content));
});

test('fetch: a file almost as large as the cache fits, since what is stored is not counted twice', async t => {
  const { remote, world } = await scene(t, 7 * MIB, { limits: { cacheBytes: 8 * MIB } });
  const erp = await world.client('erp');
  const part = erp.fetch(remote.share(), { length: BigInt(4 * MIB) });
  await part.bytes();
  t.true((await erp.fetch(remote.share()).bytes()).equals(remote.content));
});

test('fetch: bit rot in the cache ends the stream behind the piece, and the next fetch mends it', async t => {
  const { remote, world } = await scene(t, 3 * MIB);
  const erp = await world.client('erp');
  await erp.fetch(remote.share()).bytes();
  const name = remote.manifest.pieces.subarray(32, 64).toString('hex');
  const files = await readdir(`${world.folder}/files/pieces`, { recursive: true });
  const path = `${world.folder}/files/pieces/${files.find(file => file.endsWith(name))}`;
  const bytes = await readFile(path);
  bytes[5] = ~(bytes[5] ?? 0) & 0xff;
  await writeFile(path, bytes);
  t.is((await refusal(erp.fetch(remote.share()).bytes())).reason, 'FILE_DAMAGED');
  t.true((await erp.fetch(remote.share()).bytes()).equals(remote.content));
  t.is(remote.sent.get(0), MIB);
  t.is(remote.sent.get(1), 2 * MIB);
});

test('fetch: transfers say how much came from the other organisation', async t => {
  const { remote, world } = await scene(t, 3 * MIB);
  const erp = await world.client('erp');
  await erp.fetch(remote.share(), { length: BigInt(MIB) }).bytes();
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const ended = (async () => {
    for await (const transfer of erp.watchTransfers(stop.signal)) if (transfer.state === 2) return transfer;
    return undefined;
  })();
  await new Promise(resolve => setTimeout(resolve, 200));
  await erp.fetch(remote.share()).bytes();
  t.like(await ended, {
    kind: 2,
    org: 'GLOBEX',
    node: 'erp',
    totalBytes: BigInt(3 * MIB),
    doneBytes: BigInt(3 * MIB),
    receivedBytes: BigInt(2 * MIB),
  });
});
