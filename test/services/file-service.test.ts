import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { FileServiceService, ShareStart } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { DIRECTORY_TYPE, encodeListing } from '../../src/cli/directory-listing.js';
import { encodeOpening } from '../../src/wire/file-frames.js';
import { sendCompressed } from '../support/compressed.js';
import { audience, type FileClient, refusal, startOf } from '../support/file-client.js';
import { FileWorld } from '../support/file-world.js';
import { groupsOf } from '../support/groups.js';

const MIB = 1024 * 1024;
const OWN = audience({ orgs: ['ACME'] });
const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

const clients = async (world: FileWorld): Promise<[FileClient, FileClient]> => [
  await world.client('billing'),
  await world.client('erp'),
];

for (const size of [0, 1, MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 8 * MIB]) {
  for (const announced of [true, false]) {
    test(`share: ${size} bytes, ${announced ? 'announced' : 'not announced'}, are fetched as they were`, async t => {
      const world = await FileWorld.open(t);
      const [billing, erp] = await clients(world);
      const content = randomBytes(size);
      const start = { audience: OWN, name: '../x\u202e', ...(announced ? {} : { size: undefined }) };
      const share = await billing.share(content, start);
      t.like(share, { ownerNode: 'billing', name: '../x\u202e', size: BigInt(size), downloads: 0 });
      t.deepEqual(Buffer.from(share.sha256), sha256(content));
      const fetching = erp.fetch(share.id, { withManifest: true });
      const { share: told, manifest } = await fetching.opened();
      t.is(told?.id, share.id);
      t.is(manifest?.pieceSha256.length, 32 * Math.ceil(size / (manifest?.pieceSize ?? 1)));
      t.true((await fetching.bytes()).equals(content));
      t.is((await billing.getShare(share.id)).share?.downloads, 1);
    });
  }
}

test('fetch: every range of a content is what it should be', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const content = randomBytes(9 * MIB);
  const { id } = await billing.share(content, { audience: OWN });
  const edges = [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB - 1, 9 * MIB];
  for (const from of edges) {
    t.true((await erp.fetch(id, { offset: BigInt(from) }).bytes(from)).equals(content.subarray(from)), `${from}`);
    for (const to of edges.filter(edge => edge > from)) {
      const request = { offset: BigInt(from), length: BigInt(to - from) };
      t.true((await erp.fetch(id, request).bytes(from)).equals(content.subarray(from, to)), `${from} to ${to}`);
    }
  }
});

for (const [offset, length] of [
  [11n, 0n],
  [0n, 11n],
  [10n, 1n],
  [2n ** 63n, 0n],
  [1n, 2n ** 64n - 1n],
] as const) {
  test(`fetch: ${length} bytes from ${offset} of 10 are out of range`, async t => {
    const world = await FileWorld.open(t);
    const [billing, erp] = await clients(world);
    const { id } = await billing.share(Buffer.alloc(10), { audience: OWN });
    const error = await refusal(erp.fetch(id, { offset, length }).bytes());
    t.like(error, { reason: 'OFFSET_INVALID', status: 'OUT_OF_RANGE' });
    t.truthy(error.metadata.size);
  });
}

test('share: an upload goes on from what was committed, and a committed size never falls', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const content = randomBytes(10 * MIB);
  const start = startOf({ size: BigInt(content.length), audience: OWN });
  t.like(await refusal(billing.getUpload(start.uploadId)), { reason: 'UPLOAD_UNKNOWN', status: 'NOT_FOUND' });
  const first = billing.upload();
  first.send({ $case: 'start', value: start });
  for (let at = 0; at < 5 * MIB; at += MIB) first.chunk(at, content.subarray(at, at + MIB));
  while ((await committed(billing, start.uploadId)) < 4 * MIB) await new Promise(resolve => setTimeout(resolve, 20));
  first.cancel();
  await first.answer.catch(() => undefined);
  await world.restart();
  const again = await world.client('billing');
  const upload = await again.getUpload(start.uploadId);
  t.is(upload.committedSize, BigInt(4 * MIB));
  t.deepEqual(Buffer.from(upload.pieceSha256), sha256(content.subarray(0, 4 * MIB)));
  const share = await again.share(content, start, 4 * MIB);
  t.deepEqual(Buffer.from(share.sha256), sha256(content));
  t.true((await (await world.client('erp')).fetch(share.id).bytes()).equals(content));
  // Called again, finished, it is the same share.
  t.is((await again.share(content, start, content.length)).id, share.id);
  t.is((await again.share(Buffer.alloc(0), start)).id, share.id);
  const finished = await again.getUpload(start.uploadId);
  t.is(finished.share?.id, share.id);
  t.is(finished.committedSize, BigInt(content.length));
  t.is((await again.listShares()).shares.length, 1);
  erp.close();
});

const committed = (client: FileClient, uploadId: Uint8Array): Promise<bigint> =>
  client.getUpload(uploadId).then(
    ({ committedSize }) => committedSize,
    () => 0n,
  );

for (const [what, frames, reason] of [
  ['a gap', [[5n, 1]], 'OFFSET_INVALID'],
  [
    'an overlap',
    [
      [0n, 4],
      [3n, 4],
    ],
    'OFFSET_INVALID',
  ],
  [
    'backwards',
    [
      [0n, 4],
      [0n, 4],
    ],
    'OFFSET_INVALID',
  ],
  ['beyond what was announced', [[0n, 11]], 'OFFSET_INVALID'],
  ['less than was announced', [[0n, 9]], 'OFFSET_INVALID'],
  ['an offset that is no number of ours', [[2n ** 63n, 1]], 'FRAME_MALFORMED'],
  ['an empty chunk', [[0n, 0]], 'FRAME_MALFORMED'],
  ['a chunk over a MiB', [[0n, MIB + 1]], 'FRAME_TOO_LARGE'],
] as const) {
  test(`share: ${what} is refused, and the upload can be gone on with`, async t => {
    const world = await FileWorld.open(t);
    const billing = await world.client('billing');
    const content = randomBytes(10);
    const start = startOf({ size: 10n, audience: OWN });
    const upload = billing.upload();
    upload.send({ $case: 'start', value: start });
    for (const [offset, length] of frames) upload.chunk(offset, Buffer.alloc(length));
    upload.end();
    const error = await refusal(upload.answer);
    t.is(error.reason, reason);
    if (reason === 'OFFSET_INVALID') t.is(error.metadata.committedSize, '0');
    const share = await billing.share(content, start);
    t.deepEqual(Buffer.from(share.sha256), sha256(content));
  });
}

test('share: frames that may not come are refused, by their reason', async t => {
  const world = await FileWorld.open(t);
  const billing = await world.client('billing');
  const value = startOf({ audience: OWN });
  const call = async (...frames: Parameters<ReturnType<FileClient['upload']>['send']>[0][]): Promise<string> => {
    const upload = billing.upload();
    for (const frame of frames) upload.send(frame);
    upload.end();
    return (await refusal(upload.answer)).reason;
  };
  t.is(await call(), 'FRAME_UNEXPECTED');
  t.is(await call({ $case: 'chunk', value: { offset: 0n, data: Buffer.from('x') } }), 'FRAME_UNEXPECTED');
  t.is(await call({ $case: 'start', value }, { $case: 'start', value }), 'FRAME_UNEXPECTED');
});

/** For titles. */
const shown = (part: object): string =>
  Object.values(part)
    .map(value => (typeof value === 'object' ? 'it' : String(value).slice(0, 30)))
    .join();

for (const [field, part] of [
  ['start.upload_id', { uploadId: Buffer.alloc(15) }],
  ['start.size', { size: 2n ** 64n - 1n }],
  ['start.size', { size: 2n ** 40n + 1n }],
  ['start.name', { name: 'x'.repeat(256) }],
  ['start.media_type', { mediaType: 'nothing' }],
  ['start.audience.orgs[0]', { audience: audience({ orgs: ['acme'] }) }],
  ['start.audience.groups[0]', { audience: audience({ groups: ['nobody'] }) }],
  ['start.expire_time_ms', { expireTimeMs: -1n }],
  ['start.expire_time_ms', { expireTimeMs: 1n }],
  ['start.expire_time_ms', { expireTimeMs: 2n ** 62n }],
] as const) {
  test(`share: a start whose ${field} is wrong is refused with its path: ${shown(part)}`, async t => {
    const world = await FileWorld.open(t);
    const error = await refusal((await world.client('billing')).share(Buffer.alloc(0), part as object));
    t.is(error.reason, 'FIELD_INVALID');
    t.is(error.fields[0]?.field, field);
  });
}

test('share: a start that differs is another upload: refused, unfinished and finished', async t => {
  const world = await FileWorld.open(t);
  const billing = await world.client('billing');
  const content = randomBytes(5 * MIB);
  const start = startOf({ size: BigInt(content.length), audience: OWN });
  const upload = billing.upload();
  upload.send({ $case: 'start', value: start });
  for (let at = 0; at < 4; at++) upload.chunk(at * MIB, content.subarray(at * MIB, (at + 1) * MIB));
  upload.end();
  t.is((await refusal(upload.answer)).reason, 'OFFSET_INVALID');
  const others = [{ name: 'other' }, { size: 11n }, { audience: audience({}) }, { maxDownloads: 3 }];
  for (const other of others) {
    const error = await refusal(billing.share(content, { ...start, ...other }));
    t.like(error, { reason: 'UPLOAD_MISMATCH', status: 'FAILED_PRECONDITION' });
  }
  await billing.share(content, start, 4 * MIB);
  for (const other of others) {
    t.is((await refusal(billing.share(content, { ...start, ...other }))).reason, 'UPLOAD_MISMATCH');
  }
});

test.serial('share: a compressed message that is large inside is refused, and the next share goes well', async t => {
  const world = await FileWorld.open(t);
  const [billing] = await clients(world);
  const { path } = FileServiceService.share;
  const call = { address: world.address, identity: await world.identity('billing'), path };
  const message = gzipSync(Buffer.alloc(200_000_000));
  const before = process.memoryUsage().rss;
  const ended = await sendCompressed({ ...call, message });
  t.is(ended.status, status.RESOURCE_EXHAUSTED);
  t.regex(ended.text, /decompresses to a size larger/);
  t.true(process.memoryUsage().rss - before < 150e6);
  // That one which is small inside is read shows that the other was refused for its size.
  const start = encodeOpening(ShareStart.encode(startOf({ audience: OWN })).finish());
  t.is((await sendCompressed({ ...call, message: gzipSync(start) })).status, status.OK);
  t.is((await billing.share(randomBytes(10), { audience: OWN })).size, 10n);
});

test('share: of two writers the newer wins, and the upload of one node is none of another', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const content = randomBytes(10);
  const start = startOf({ size: 10n, audience: OWN });
  const older = billing.upload();
  older.send({ $case: 'start', value: start });
  older.chunk(0, content.subarray(0, 5));
  await transferOf(billing);
  const theirs = await erp.share(Buffer.alloc(10), start);
  const share = await billing.share(content, start);
  t.like(await refusal(older.answer), { reason: 'UPLOAD_TAKEN', status: 'ABORTED' });
  t.not(share.id, theirs.id);
  t.deepEqual(Buffer.from(share.sha256), sha256(content));
  t.is((await refusal(erp.getUpload(randomBytes(16)))).reason, 'UPLOAD_UNKNOWN');
});

/** Resolves once a transfer of the node is under way. */
async function transferOf(client: FileClient): Promise<void> {
  const stop = new AbortController();
  for await (const transfer of client.watchTransfers(stop.signal)) if (transfer) break;
  stop.abort();
}

test('share: a cancelled upload is gone, and cancelling what is not there succeeds', async t => {
  const world = await FileWorld.open(t);
  const billing = await world.client('billing');
  const start = startOf({ size: 8n * BigInt(MIB), audience: OWN });
  const upload = billing.upload();
  upload.send({ $case: 'start', value: start });
  for (let at = 0; at < 4; at++) upload.chunk(at * MIB, Buffer.alloc(MIB));
  upload.end();
  t.is((await refusal(upload.answer)).reason, 'OFFSET_INVALID');
  t.is((await billing.getUpload(start.uploadId)).committedSize, BigInt(4 * MIB));
  await billing.cancelUpload(start.uploadId);
  await billing.cancelUpload(start.uploadId);
  t.is((await refusal(billing.getUpload(start.uploadId))).reason, 'UPLOAD_UNKNOWN');
});

for (const [what, everyMs] of [
  ['that stops', 0],
  ['of a byte now and then', 50],
] as const) {
  test(`share: a writer ${what} is ended, and what it committed stays`, async t => {
    const world = await FileWorld.open(t, { progress: { stallMs: 1_000 } });
    const billing = await world.client('billing');
    const start = startOf({ audience: OWN });
    const upload = billing.upload();
    upload.send({ $case: 'start', value: start });
    for (let at = 0; at < 4; at++) upload.chunk(at * MIB, Buffer.alloc(MIB));
    let at = 4 * MIB;
    const drip = everyMs > 0 ? setInterval(() => upload.chunk(at++, Buffer.alloc(1)), everyMs) : undefined;
    const error = await refusal(upload.answer);
    clearInterval(drip);
    t.like(error, { reason: 'TRANSFER_STALLED', status: 'DEADLINE_EXCEEDED' });
    t.is((await billing.getUpload(start.uploadId)).committedSize, BigInt(4 * MIB));
  });
}

test('share: a slow writer that moves enough is not ended', async t => {
  const world = await FileWorld.open(t, { progress: { stallMs: 2_000 } });
  const billing = await world.client('billing');
  const upload = billing.upload();
  upload.send({ $case: 'start', value: startOf({ audience: OWN }) });
  for (let at = 0; at < 60; at++) {
    upload.chunk(at * 8192, Buffer.alloc(8192));
    await new Promise(resolve => setTimeout(resolve, 80));
  }
  upload.end();
  t.is((await upload.answer).size, 60n * 8192n);
});

test('fetch: a reader that does not read is ended', async t => {
  const world = await FileWorld.open(t, { progress: { stallMs: 1_000 } });
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.alloc(32 * MIB), { audience: OWN });
  const fetching = erp.fetch(id);
  await fetching.opened();
  await new Promise(resolve => setTimeout(resolve, 3_500));
  t.like(await refusal(fetching.bytes()), { reason: 'TRANSFER_STALLED' });
});

test('share: two uploads that each fit, but not together, are not both taken', async t => {
  const world = await FileWorld.open(t, { limits: { sharedBytesPerNode: 10 * MIB } });
  const billing = await world.client('billing');
  const uploads = [6, 6, 6].map(size => {
    const upload = billing.upload();
    upload.send({ $case: 'start', value: startOf({ size: BigInt(size * MIB), audience: OWN }) });
    return upload;
  });
  const refused: string[] = [];
  await new Promise<void>(resolve => {
    for (const { answer } of uploads) {
      void refusal(answer).then(({ reason }) => refused.push(reason) === 2 && resolve());
    }
  });
  t.deepEqual(refused, ['FILES_FULL', 'FILES_FULL']);
});

test('grants: without them there is no sharing, with somebody else neither, and no fetching', async t => {
  const world = await FileWorld.open(t, {
    groups: groupsOf({ suppliers: ['GLOBEX', 'INITECH'] }),
    nodes: [
      { node: 'billing', share: ['ACME', 'GLOBEX'] },
      { node: 'erp', fetch: ['ACME'] },
      { node: 'boss', share: ['*'], fetch: ['*'] },
    ],
  });
  const [billing, erp] = await clients(world);
  const boss = await world.client('boss');
  const denied = async (call: Promise<unknown>): Promise<string> => (await refusal(call)).reason;
  const content = Buffer.from('x');
  t.is(await denied(erp.share(content)), 'NOT_GRANTED');
  for (const part of [{ orgs: ['INITECH'] }, { nodes: ['INITECH/x'] }, { groups: ['suppliers'] }, { anyone: true }]) {
    t.is(await denied(billing.share(content, { audience: audience(part) })), 'NOT_GRANTED', JSON.stringify(part));
  }
  const share = await billing.share(content, { audience: audience({ orgs: ['ACME', 'GLOBEX'] }) });
  t.is(await denied(billing.fetch(share.id).bytes()), 'NOT_GRANTED');
  t.is(await denied(billing.updateShare(share.id, { audience: audience({ anyone: true }) })), 'NOT_GRANTED');
  t.is((await erp.fetch(share.id).bytes()).toString(), 'x');
  t.is(await denied(erp.fetch(`share://GLOBEX/${'0'.repeat(32)}`).bytes()), 'NOT_GRANTED');
  t.truthy(await boss.share(content, { audience: audience({ anyone: true, groups: ['suppliers'] }) }));
});

test('shares: an id of nobody, of somebody else, and a guess get the same answer', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.from('x'), { audience: audience({ nodes: ['ACME/boss'] }) });
  const guess = `share://ACME/${randomBytes(16).toString('hex')}`;
  const calls: ((share: string) => Promise<unknown>)[] = [
    share => erp.fetch(share).bytes(),
    share => erp.getShare(share),
    share => erp.updateShare(share, { maxDownloads: 1 }),
    share => erp.unshare(share),
  ];
  for (const call of calls) {
    const [hidden, missing] = [await refusal(call(id)), await refusal(call(guess))];
    t.like(hidden, { reason: 'SHARE_UNKNOWN', status: 'NOT_FOUND' });
    t.is(hidden.message.replace(id, '?'), missing.message.replace(guess, '?'));
    t.deepEqual(Object.keys(hidden.metadata), Object.keys(missing.metadata));
    t.is(missing.reason, 'SHARE_UNKNOWN');
  }
  const boss = await world.client('boss');
  t.is((await boss.fetch(id).bytes()).toString(), 'x');
  t.is((await refusal(boss.unshare(id))).reason, 'SHARE_UNKNOWN');
  for (const text of [`${id}/..`, id.toUpperCase(), `${id.slice(0, -1)}`, `${id}%00`]) {
    t.is((await refusal(boss.fetch(text).bytes())).reason, 'FIELD_INVALID');
  }
});

test('shares: once over, insiders hear why, and others still nothing', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const stranger = await world.client('stranger');
  const insiders = audience({ nodes: ['ACME/erp'] });
  const unshared = await billing.share(Buffer.from('x'), { audience: insiders });
  await billing.unshare(unshared.id);
  const expired = await billing.share(Buffer.from('y'), {
    audience: insiders,
    expireTimeMs: BigInt(world.nowMs + 60_000),
  });
  const used = await billing.share(Buffer.from('z'), { audience: insiders, maxDownloads: 1 });
  await erp.fetch(used.id).bytes();
  world.nowMs += 60_000;
  for (const [{ id }, why] of [
    [unshared, 'unshared'],
    [expired, 'expired'],
    [used, 'max-downloads'],
  ] as const) {
    const error = await refusal(erp.fetch(id).bytes());
    t.like(error, { reason: 'SHARE_ENDED', status: 'FAILED_PRECONDITION' });
    t.is(error.metadata.why, why);
    t.is((await refusal(stranger.fetch(id).bytes())).reason, 'SHARE_UNKNOWN');
  }
  // More time was given, and more downloads.
  await billing.updateShare(expired.id, { expireTimeMs: BigInt(world.nowMs + 60_000) });
  await billing.updateShare(used.id, { maxDownloads: 2 });
  t.is((await erp.fetch(expired.id).bytes()).toString(), 'y');
  t.is((await erp.fetch(used.id).bytes()).toString(), 'z');
  t.is((await refusal(billing.updateShare(unshared.id, { maxDownloads: 5 }))).reason, 'SHARE_ENDED');
});

test('shares: one that needs an approval is refused to everybody, and can be looked at', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.from('x'), { audience: OWN, requiresApproval: true });
  for (const node of [billing, erp]) t.is((await refusal(node.fetch(id).bytes())).reason, 'APPROVAL_MISSING');
  t.true((await erp.getShare(id)).share?.requiresApproval);
  t.is((await billing.getShare(id)).share?.downloads, 0);
});

test('shares: one that needs an approval may be fetched once its content is approved, by whoever may fetch it', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.from('code'), { audience: OWN, requiresApproval: true });
  world.approved.add(hex('other code'));
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'APPROVAL_MISSING');
  world.approved.add(hex('code'));
  for (const node of [billing, erp]) t.is((await node.fetch(id).bytes()).toString(), 'code');
  await world.restart();
  t.is((await (await world.client('erp')).fetch(id).bytes()).toString(), 'code');
});

test('shares: the listing of a folder that needs an approval may be fetched once all its files are approved', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const listing = encodeListing(['a', 'b'].map(text => listed(text)));
  const { id } = await billing.share(listing, { audience: OWN, requiresApproval: true, mediaType: DIRECTORY_TYPE });
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'APPROVAL_MISSING');
  world.approved.add(hex('a'));
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'APPROVAL_MISSING');
  world.approved.add(hex('b'));
  t.deepEqual(await erp.fetch(id).bytes(), listing);
});

test('shares: what only says that it is a listing of approved files needs an approval of its own', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  world.approved.add(hex('a'));
  const text = encodeListing([listed('a')]).toString();
  const lies = [
    'code',
    '',
    `${text}code`,
    text.slice(0, -1),
    text.replace('{"version"', '{"code":"x","version"'),
    text.replace('"size"', '"code":"x","size"'),
    encodeListing([]).toString(),
    encodeListing([{ ...listed('a'), sha256: 'x' }]).toString(),
    '{"version":1,"files":[{}]}\n',
    'null',
  ];
  for (const lie of lies) {
    const terms = { audience: OWN, requiresApproval: true, mediaType: DIRECTORY_TYPE };
    const { id } = await billing.share(Buffer.from(lie), terms);
    t.is((await refusal(erp.fetch(id).bytes())).reason, 'APPROVAL_MISSING', lie);
  }
  const { id } = await billing.share(Buffer.from(text), { audience: OWN, requiresApproval: true });
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'APPROVAL_MISSING', 'of another media type');
});

const hex = (text: string): string => createHash('sha256').update(text).digest('hex');
const listed = (text: string) => ({
  path: `${text}.txt`,
  size: text.length,
  sha256: hex(text),
  share: `share://ACME/${'0'.repeat(32)}`,
});

for (const [what, end, reason] of [
  ['unshare', (client: FileClient, id: string) => client.unshare(id), 'SHARE_ENDED'],
  [
    'a change of the audience',
    (client: FileClient, id: string) => client.updateShare(id, { audience: audience({}) }),
    'SHARE_UNKNOWN',
  ],
] as const) {
  test(`shares: ${what} ends a download within one piece`, async t => {
    const world = await FileWorld.open(t);
    const [billing, erp] = await clients(world);
    const { id } = await billing.share(Buffer.alloc(64 * MIB), { audience: OWN });
    const fetching = erp.fetch(id);
    const chunks = fetching.chunks();
    await chunks.next();
    await end(billing, id);
    let rest = 0;
    const error = await refusal(
      (async () => {
        for await (const chunk of chunks) rest += chunk.length;
      })(),
    );
    t.is(error.reason, reason);
    // What was on its way already: the windows of HTTP/2, few frames, and no more of the file.
    t.true(rest < 24 * MIB, `${rest}`);
  });
}

test('shares: expiry ends a download under way when the clock gets there', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.alloc(64 * MIB), {
    audience: OWN,
    expireTimeMs: BigInt(world.nowMs + 3_600_000),
  });
  const chunks = erp.fetch(id).chunks();
  await chunks.next();
  world.nowMs += 3_600_000;
  const error = await refusal(
    (async () => {
      for await (const chunk of chunks) t.truthy(chunk.length);
    })(),
  );
  t.is(error.reason, 'SHARE_ENDED');
  t.is(error.metadata.why, 'expired');
});

test('shares: of many downloads at once only as many as allowed begin, and each may be resumed', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.from('content'), { audience: OWN, maxDownloads: 3 });
  const ids = Array.from({ length: 12 }, () => randomBytes(16));
  const outcomes = await Promise.allSettled(ids.map(downloadId => erp.fetch(id, { downloadId }).bytes()));
  const won = ids.filter((_, i) => outcomes[i]?.status === 'fulfilled');
  t.is(won.length, 3);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.is(outcome.reason.metadata.why, 'max-downloads');
  }
  await world.restart();
  const again = await world.client('erp');
  for (const downloadId of won) t.is((await again.fetch(id, { downloadId, offset: 3n }).bytes(3)).toString(), 'tent');
  // The same number from somebody else is another download.
  const other = await world.client('other');
  t.is((await refusal(other.fetch(id, { downloadId: won[0] as Buffer }).bytes())).reason, 'SHARE_ENDED');
  const owner = await world.client('billing');
  t.is((await owner.getShare(id)).share?.downloads, 3);
});

test('shares: are listed oldest first, in pages, each node its own, and for administrators all', async t => {
  const world = await FileWorld.open(t, {
    nodes: [
      { share: ['*'], fetch: ['*'] },
      { node: 'boss', admin: true },
    ],
  });
  const [billing, erp] = await clients(world);
  const made: string[] = [];
  for (let i = 0; i < 5; i++) {
    world.nowMs += i % 2;
    made.push((await billing.share(Buffer.from(String(i)), { audience: OWN })).id);
  }
  const foreign = await erp.share(Buffer.from('x'), { audience: OWN });
  const listed: string[] = [];
  let token = '';
  do {
    const page = await billing.listShares(2, token);
    t.true(page.shares.length <= 2);
    listed.push(...page.shares.map(({ id }) => id));
    token = page.nextPageToken;
  } while (token !== '');
  t.deepEqual([...listed].sort(), [...made].sort());
  t.is(listed.length, 5);
  const boss = await world.client('boss');
  t.is((await boss.listShares()).shares.length, 6);
  t.like((await boss.getShare(foreign.id)).share, { ownerNode: 'erp' });
  await boss.unshare(foreign.id);
  t.is((await boss.listShares()).shares.length, 5);
  for (const bad of ['x', '00', 'g'.repeat(48)]) {
    t.is((await refusal(billing.listShares(2, bad))).fields[0]?.field, 'page_token');
  }
  t.is((await refusal(billing.listShares(1001))).fields[0]?.field, 'page_size');
});

test('shares: one that is over is forgotten with its downloads after a while, and its content let go', async t => {
  const world = await FileWorld.open(t, { keepMs: 100 });
  const [billing, erp] = await clients(world);
  const share = await billing.share(Buffer.from('x'), { audience: OWN, expireTimeMs: BigInt(world.nowMs + 1_000) });
  const kept = await billing.share(Buffer.from('x'), { audience: OWN });
  await erp.fetch(share.id).bytes();
  t.is(world.store.disk.tables.get('file-download')?.rows.size, 1);
  world.nowMs += 1_100;
  await world.restart();
  const again = await world.client('erp');
  while ((await refusal(again.fetch(share.id).bytes())).reason !== 'SHARE_UNKNOWN') await world.restart();
  t.is(world.store.disk.tables.get('file-download')?.rows.size, 0);
  t.is(world.store.disk.tables.get('file-share')?.rows.size, 1);
  t.is((await again.fetch(kept.id).bytes()).toString(), 'x');
});

test('shares: a damaged row does not stop the start, and the others are there', async t => {
  const world = await FileWorld.open(t);
  const billing = await world.client('billing');
  const [bad, good] = [
    await billing.share(Buffer.from('x'), { audience: OWN }),
    await billing.share(Buffer.from('y'), { audience: OWN }),
  ];
  const table = world.store.disk.tables.get('file-share');
  if (table) table.sorted = undefined;
  const rows = table?.rows;
  const key = Buffer.from(bad.id.slice(-32), 'hex').toString('latin1');
  const row = rows?.get(key);
  if (row) rows?.set(key, { ...row, value: Buffer.from('no such row') });
  await world.restart();
  const erp = await world.client('erp');
  t.is((await refusal(erp.fetch(bad.id).bytes())).reason, 'SHARE_UNKNOWN');
  t.is((await erp.fetch(good.id).bytes()).toString(), 'y');
  t.true(world.events.some(({ kind }) => kind === 'row-damaged'));
});

test('transfers: each node hears of its own, an administrator of all', async t => {
  const world = await FileWorld.open(t, {
    nodes: [
      { share: ['*'], fetch: ['*'] },
      { node: 'boss', admin: true },
    ],
  });
  const [billing, erp] = await clients(world);
  const boss = await world.client('boss');
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const ends = (client: FileClient, share = ''): string[] => {
    const told: string[] = [];
    const watch = async (): Promise<void> => {
      for await (const { kind, state, node, doneBytes } of client.watchTransfers(stop.signal, share))
        if (state === 2) told.push(`${kind === 1 ? 'share' : 'fetch'} ${node} ${doneBytes}`);
    };
    void watch().catch(() => undefined);
    return told;
  };
  // What is told of comes a while after it ended, and a watch that began late sees the next one.
  const until = async (action: () => Promise<unknown>, check: () => boolean): Promise<void> => {
    for (await action(); !check(); await action()) await new Promise(resolve => setTimeout(resolve, 100));
  };
  const [all, own] = [ends(boss), ends(billing)];
  let id = '';
  const share = async (): Promise<void> => {
    ({ id } = await billing.share(Buffer.from('four'), { audience: OWN }));
  };
  await until(share, () => all.length > 0 && own.length > 0);
  t.deepEqual([all[0], own[0]], ['share billing 4', 'share billing 4']);
  const ofOne = ends(erp, id);
  await until(
    () => erp.fetch(id).bytes(),
    () => ofOne.length > 0 && all.includes('fetch erp 4'),
  );
  t.is(ofOne[0], 'fetch erp 4');
  const isFetch = (told: string): boolean => told.startsWith('fetch');
  await until(
    () => billing.fetch(id, { length: 1n }).bytes(),
    () => own.some(isFetch),
  );
  t.is(own.find(isFetch), 'fetch billing 1', 'what others fetch is not told');
});

test('share: ten thousand offers without a byte: a bounded number is taken, and what ends leaves its place', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const offers = Array.from({ length: 130 }, () => {
    const upload = billing.upload();
    upload.send({ $case: 'start', value: startOf({ size: 1n, audience: OWN }) });
    return upload;
  });
  const refused: string[] = [];
  await new Promise<void>(resolve => {
    for (const { answer } of offers) {
      void refusal(answer).then(
        ({ reason }) => refused.push(reason) === 30 && resolve(),
        () => undefined,
      );
    }
  });
  t.deepEqual(new Set(refused), new Set(['LIMIT_REACHED']));
  t.truthy(await erp.share(Buffer.from('x'), { audience: OWN }));
  for (const offer of offers) offer.cancel();
  await Promise.allSettled(offers.map(({ answer }) => answer));
  let made: string | undefined;
  for (let tries = 0; made === undefined && tries < 100; tries++) {
    made = await billing.share(Buffer.from('y'), { audience: OWN }).then(
      ({ id }) => id,
      () => undefined,
    );
    if (made === undefined) await new Promise(resolve => setTimeout(resolve, 50));
  }
  t.truthy(made);
});

test('fetch: a piece that rotted on the disk ends the stream with it, and sharing the file again mends it', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const content = randomBytes(9 * MIB);
  const { id } = await billing.share(content, { audience: OWN });
  const name = sha256(content.subarray(4 * MIB, 8 * MIB)).toString('hex');
  const files = await readdir(`${world.folder}/files/pieces`, { recursive: true });
  const path = `${world.folder}/files/pieces/${files.find(file => file.endsWith(name))}`;
  const bytes = await readFile(path);
  bytes[100] = ~(bytes[100] ?? 0) & 0xff;
  await writeFile(path, bytes);
  t.like(await refusal(erp.fetch(id).bytes()), { reason: 'FILE_DAMAGED', status: 'DATA_LOSS' });
  const first = await erp.fetch(id, { length: BigInt(4 * MIB) }).bytes();
  t.true(first.equals(content.subarray(0, 4 * MIB)));
  await billing.share(content, { audience: OWN });
  t.true((await erp.fetch(id).bytes()).equals(content));
});

test('shares: content that is shared again while it is swept away is whole', async t => {
  const world = await FileWorld.open(t, { limits: { keepMs: 0 }, keepMs: 0 });
  const [billing, erp] = await clients(world);
  const content = randomBytes(MIB);
  let old = (await billing.share(content, { audience: OWN })).id;
  for (let round = 0; round < 15; round++) {
    world.nowMs += 1;
    const sharing = billing.share(content, { audience: OWN });
    const [fresh] = await Promise.all([sharing, billing.unshare(old), world.contents.sweep(), world.contents.sweep()]);
    await world.contents.sweep();
    t.true((await erp.fetch(fresh.id).bytes()).equals(content), `round ${round}`);
    old = fresh.id;
  }
});

test('shares: what is being fetched when its share ends is not swept away below the reader of another', async t => {
  const world = await FileWorld.open(t, { limits: { keepMs: 0 }, keepMs: 0 });
  const [billing, erp] = await clients(world);
  const content = randomBytes(40 * MIB);
  const [ended, kept] = [
    await billing.share(content, { audience: OWN }),
    await billing.share(content, { audience: OWN }),
  ];
  const chunks = erp.fetch(kept.id).chunks();
  const first = await chunks.next();
  await billing.unshare(ended.id);
  world.nowMs += 1_000;
  await world.contents.sweep();
  const rest: Buffer[] = [first.value as Buffer];
  for await (const chunk of chunks) rest.push(chunk);
  t.true(Buffer.concat(rest).equals(content));
});

test('draining: uploads, fetches and watches end with a reason, and go on with the next gateway', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.alloc(64 * MIB), { audience: OWN });
  const chunks = erp.fetch(id).chunks();
  await chunks.next();
  const watched = (async () => {
    for await (const transfer of billing.watchTransfers(new AbortController().signal)) t.truthy(transfer.id);
  })();
  const upload = billing.upload();
  const start = startOf({ audience: OWN });
  upload.send({ $case: 'start', value: start });
  upload.chunk(0, Buffer.alloc(10));
  await transferOf(billing);
  const fetched = refusal(
    (async () => {
      for await (const chunk of chunks) t.truthy(chunk.length);
    })(),
  );
  await world.stop();
  t.is((await refusal(upload.answer)).reason, 'DRAINING');
  t.is((await refusal(watched)).reason, 'DRAINING');
  t.is((await fetched).reason, 'DRAINING');
  await world.start();
  const again = await world.client('billing');
  t.is((await again.share(Buffer.alloc(10), { ...start, size: undefined })).size, 10n);
});

test('shares: a download that could not be counted does not begin, and is not counted', async t => {
  const world = await FileWorld.open(t);
  const [billing, erp] = await clients(world);
  const { id } = await billing.share(Buffer.from('x'), { audience: OWN, maxDownloads: 1 });
  world.store.failures = 1;
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'STORE_FAILED');
  t.is((await billing.getShare(id)).share?.downloads, 0);
  t.is((await erp.fetch(id).bytes()).toString(), 'x');
  world.store.failures = 1;
  t.is((await refusal(billing.unshare(id))).reason, 'STORE_FAILED');
  t.is((await billing.listShares()).shares.length, 1);
  await billing.unshare(id);
  t.is((await billing.listShares()).shares.length, 0);
});
