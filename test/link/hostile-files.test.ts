import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { FederationServiceService } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { FedgateError, type Reason } from '../../src/errors.js';
import { manifestToProto } from '../../src/files/manifest.js';
import type { Download, Manifest } from '../../src/files/types.js';
import { shareToFrame } from '../../src/link/files-facts.js';
import { MAX_SESSIONS, MAX_WANTS } from '../../src/link/files-terms.js';
import { LANE } from '../../src/link/hello.js';
import { fromRpcStatus, toRpcStatus } from '../../src/transport/status.js';
import { frameBytes, HostileGateway } from '../support/attack.js';
import { sendCompressed } from '../support/compressed.js';
import { ACME, GLOBEX } from '../support/durable-side.js';
import { FakeHolder, factsOf, forever, MIB, manifestOf, readAll, request } from '../support/files-side.js';
import { HostileFiles } from '../support/hostile-files.js';
import { Members, PeerGateway } from '../support/peer-gateway.js';

/** ACME's gateway does not run: this file holds its key and says what it likes on files lanes to GLOBEX. */
interface Scene {
  readonly acme: HostileGateway;
  readonly globex: PeerGateway;
  readonly holder: FakeHolder;
  readonly alarms: FedgateError[];
}

let scene: Scene;
const undo: (() => unknown)[] = [];
const scope = { teardown: (action: () => unknown) => void undo.push(action) };

test.before(async () => {
  const members = new Members();
  const [acme, globex] = [await members.add(ACME), await members.add(GLOBEX)];
  const holder = new FakeHolder(GLOBEX, 40 * MIB, MIB);
  const alarms: FedgateError[] = [];
  const files = { holder, onAlarm: (error: FedgateError) => void alarms.push(error) };
  const gateway = await PeerGateway.open(scope, members, GLOBEX, globex, files);
  const hostile = new HostileGateway(scope, ACME, acme.identity, gateway.address, [globex.authority.certificate]);
  scene = { acme: hostile, globex: gateway, holder, alarms };
});
test.after.always(async () => {
  for (const action of undo.reverse()) await action();
});

/** After each attack nothing of it is left, and an honest asker of the same gateway is served. */
const attack = (title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void =>
  test.serial(`hostile files lane: ${title}`, async t => {
    scene.alarms.length = 0;
    scene.holder.pace = () => undefined;
    await run(t, scene);
    scene.holder.pace = () => undefined;
    const honest = await HostileFiles.open(scene.acme, 'files');
    honest.open(1);
    await honest.next('fileOpened');
    honest.want(1, 0).credit(1, MIB);
    await honest.next('fileData', ({ offset, data }) => offset + data.length === MIB);
    honest.link.control.call.cancel();
    while (scene.holder.openNow > 0) await new Promise(resolve => setTimeout(resolve, 5));
    t.pass();
  });

async function endsWith(t: ExecutionContext, lane: HostileFiles, reason: Reason): Promise<void> {
  t.is((await lane.lane.ended)?.reason, reason);
  t.is((await lane.link.control.ended)?.reason, reason);
}

function alarmed(t: ExecutionContext, reason: Reason): void {
  t.true(
    scene.alarms.some(error => error.reason === reason),
    `no alarm of ${reason}`,
  );
}

async function opened({ acme }: Scene): Promise<HostileFiles> {
  const lane = await HostileFiles.open(acme, 'files');
  lane.open(1);
  await lane.next('fileOpened');
  return lane;
}

const endOf = async (lane: HostileFiles, session = 1): Promise<FedgateError> => {
  const { error } = await lane.next('fileEnd', end => end.session === session);
  return fromRpcStatus(error ?? { code: 0, message: '', details: [] });
};

// What an asker can do.

const ASKER_LIES: readonly { readonly title: string; readonly lie: (lane: HostileFiles) => unknown }[] = [
  { title: 'a session number that was used', lie: lane => lane.open(1) },
  { title: 'a session number 0', lie: lane => lane.open(0) },
  { title: 'a want for a session that never was', lie: lane => lane.want(7, 0) },
  { title: 'the end of a session that never was', lie: lane => lane.close(7) },
  { title: 'credit for a session that never was', lie: lane => lane.credit(7, 1) },
  { title: 'a piece that is wanted twice at a time', lie: lane => lane.want(1, 0).want(1, 0) },
  { title: 'credit that is taken back', lie: lane => lane.credit(1, 2).credit(1, 1) },
  { title: 'data', lie: lane => lane.data({}) },
  { title: 'a hello', lie: lane => lane.lane.write(scene.acme.hello(LANE.files, randomBytes(16))) },
  {
    title: 'a batch of another lane',
    lie: lane => lane.put({ $case: 'ping', value: { nonce: 1n } }),
  },
];
for (const { title, lie } of ASKER_LIES) {
  attack(`${title} from an asker ends the link with FRAME_UNEXPECTED`, async (t, scene) => {
    const lane = await opened(scene);
    lie(lane);
    await endsWith(t, lane, 'FRAME_UNEXPECTED');
    alarmed(t, 'FRAME_UNEXPECTED');
  });
}

attack('a piece that is wanted before the answer came ends the link', async (t, { acme, holder }) => {
  let go: () => void = () => undefined;
  const gate = new Promise<void>(resolve => (go = resolve));
  holder.pace = () => gate;
  const lane = await HostileFiles.open(acme, 'files');
  lane.open(1).want(1, 0);
  await endsWith(t, lane, 'FRAME_UNEXPECTED');
  go();
});

attack('a piece of a share that is only looked at ends the link', async (t, { acme }) => {
  const lane = await HostileFiles.open(acme, 'files');
  lane.open(1, { look: true });
  await lane.next('fileOpened');
  lane.want(1, 0);
  await endsWith(t, lane, 'FRAME_UNEXPECTED');
});

attack('garbage ends the link with FRAME_MALFORMED', async (t, scene) => {
  for (const bytes of [
    Buffer.from('0a', 'hex'),
    randomBytes(300),
    frameBytes({ $case: 'ping', value: { nonce: 1n } }).subarray(1),
  ]) {
    const lane = await opened(scene);
    lane.lane.write(bytes);
    t.is((await lane.lane.ended)?.reason, 'FRAME_MALFORMED');
  }
});

attack('a compressed message that is large inside ends its call, and takes no memory', async (t, { acme, globex }) => {
  const { path } = FederationServiceService.openLane;
  const message = gzipSync(Buffer.alloc(200_000_000));
  const before = process.memoryUsage().rss;
  const ended = await sendCompressed({ address: globex.address, identity: acme.identity, path, message });
  t.is(ended.status, status.RESOURCE_EXHAUSTED);
  t.regex(ended.text, /decompresses to a size larger/);
  t.true(process.memoryUsage().rss - before < 150e6);
});

attack('wants beyond the content end the session with OFFSET_INVALID, and no other', async (t, scene) => {
  const lane = await opened(scene);
  const beyond = [
    [40, 0],
    [4_294_967_295, 0],
    [0, MIB],
    [39, 4_294_967_295],
  ] as const;
  for (const [i, [piece, offset]] of beyond.entries()) {
    lane.open(i + 2);
    await lane.next('fileOpened', ({ session }) => session === i + 2);
    lane.want(i + 2, piece, offset);
    t.is((await endOf(lane, i + 2)).reason, 'OFFSET_INVALID');
  }
  lane.want(1, 0).credit(1, MIB);
  t.is((await lane.next('fileData')).session, 1);
  lane.link.control.call.cancel();
});

attack('more wants than there may be end the session with LIMIT_REACHED', async (t, scene) => {
  const lane = await opened(scene);
  for (let piece = 0; piece <= MAX_WANTS; piece++) lane.want(1, piece);
  t.is((await endOf(lane)).reason, 'LIMIT_REACHED');
  lane.want(1, 20).credit(1, 5).close(1);
  lane.link.control.call.cancel();
});

attack('names that are none are refused, and nobody is asked', async (t, { acme, holder }) => {
  const lane = await HostileFiles.open(acme, 'files');
  const before = holder.opened.length;
  lane
    .open(1, { node: '../x' })
    .open(2, { node: '' })
    .open(3, { shareId: Buffer.alloc(15) });
  lane.open(4, { downloadId: Buffer.alloc(0) });
  for (const session of [1, 2, 3, 4]) t.is((await endOf(lane, session)).reason, 'FIELD_INVALID');
  t.is(holder.opened.length, before);
  lane.link.control.call.cancel();
});

attack('a storm of sessions is refused from a number on, and leaves nothing behind', async (t, { acme, holder }) => {
  const lane = await HostileFiles.open(acme, 'files');
  for (let session = 1; session <= 1_000; session++) lane.open(session);
  t.is((await endOf(lane, 1_000)).reason, 'LIMIT_REACHED');
  await lane.next('fileOpened', ({ session }) => session === MAX_SESSIONS);
  t.is(holder.openNow, MAX_SESSIONS);
  lane.link.control.call.cancel();
});

attack('sessions that are closed while they are being opened count until they are not', async (t, { acme, holder }) => {
  let go: () => void = () => undefined;
  const gate = new Promise<void>(resolve => (go = resolve));
  holder.pace = () => gate;
  const lane = await HostileFiles.open(acme, 'files');
  for (let session = 1; session <= MAX_SESSIONS + 50; session++) lane.open(session).close(session);
  t.is((await endOf(lane, MAX_SESSIONS + 1)).reason, 'LIMIT_REACHED');
  go();
  holder.pace = () => undefined;
  lane.link.control.call.cancel();
});

attack('an asker gets no more than it gave credit for, down to the byte', async (t, scene) => {
  const lane = await opened(scene);
  for (let piece = 0; piece < MAX_WANTS; piece++) lane.want(1, piece);
  lane.credit(1, 300_001);
  while (lane.dataBytes < 300_001) await lane.lane.until(() => (lane.dataBytes >= 300_001 ? true : undefined));
  await new Promise(resolve => setTimeout(resolve, 100));
  t.is(lane.dataBytes, 300_001);
  lane.link.control.call.cancel();
});

attack('an asker that grants everything and never reads costs no memory', async (t, scene) => {
  const lane = await opened(scene);
  lane.lane.call.pause();
  const before = scene.holder.opened.at(-1)?.bytesRead ?? 0;
  for (let piece = 0; piece < MAX_WANTS; piece++) lane.want(1, piece);
  lane.credit(1, 2 ** 50);
  await new Promise(resolve => setTimeout(resolve, 1_000));
  const read = (scene.holder.opened.at(-1)?.bytesRead ?? 0) - before;
  t.true(read < 12 * MIB, `${read} bytes were read for it`);
  lane.link.control.call.cancel();
});

attack('a files lane of a link that is not there, or a second one, is refused', async (t, { acme }) => {
  for (const kind of ['files', 'filesBack'] as const) {
    const lone = acme.lane().write(acme.hello(LANE[kind], randomBytes(16)));
    t.is((await lone.ended)?.reason, 'LINK_SUPERSEDED');
    const { link } = await HostileFiles.open(acme, kind);
    const second = acme.lane().write(acme.hello(LANE[kind], link.linkId));
    t.is((await second.ended)?.reason, 'LINK_SUPERSEDED');
    link.control.call.cancel();
  }
});

// What a holder can do.

interface Asked {
  readonly lane: HostileFiles;
  readonly opening: Promise<Download>;
  readonly shareId: Buffer;
}

/** GLOBEX asks ACME for something. */
async function asked({ acme, globex }: Scene): Promise<Asked> {
  const lane = await HostileFiles.open(acme, 'filesBack');
  const shareId = randomBytes(16);
  const opening = globex.peers.openShare(ACME, 'press', request({ shareId }), forever);
  opening.catch(() => undefined);
  await lane.next('fileOpen');
  return { lane, opening, shareId };
}

const answer = (lane: HostileFiles, id: Buffer, manifest: Manifest, more = {}): HostileFiles => {
  const share = { ...shareToFrame(factsOf(ACME, id, manifest)), ...more };
  return lane.put({ $case: 'fileOpened', value: { session: 1, share, manifest: manifestToProto(manifest) } });
};

/** GLOBEX wants the first piece of ACME's, and there is credit for it. */
async function wanted(scene: Scene) {
  const { lane, opening, shareId } = await asked(scene);
  answer(lane, shareId, manifestOf(3 * MIB));
  const download = await opening;
  const reading = readAll(download, 0);
  reading.catch(() => undefined);
  await lane.next('fileWant');
  await lane.next('fileCredit');
  return { lane, download, reading };
}

const good = manifestOf(3 * MIB);
const MANIFEST_LIES: readonly { readonly title: string; readonly lie: (lane: HostileFiles, id: Buffer) => unknown }[] =
  [
    { title: 'a root of other pieces', lie: (lane, id) => answer(lane, id, { ...good, merkleRoot: randomBytes(32) }) },
    { title: 'a piece too few', lie: (lane, id) => answer(lane, id, { ...good, pieces: good.pieces.subarray(32) }) },
    { title: 'a piece size that is none', lie: (lane, id) => answer(lane, id, { ...good, pieceSize: 3 * MIB }) },
    { title: 'a size beyond all bounds', lie: (lane, id) => answer(lane, id, { ...good, size: 2 ** 52 }) },
    { title: 'a share of another size', lie: (lane, id) => answer(lane, id, good, { size: 1n }) },
    { title: 'a share of another content', lie: (lane, id) => answer(lane, id, good, { sha256: randomBytes(32) }) },
    {
      title: 'another digest of the manifest',
      lie: (lane, id) => answer(lane, id, good, { manifestSha256: randomBytes(32) }),
    },
    { title: 'another share', lie: lane => answer(lane, randomBytes(16), good) },
    {
      title: "another organisation's share",
      lie: (lane, id) => answer(lane, id, good, { id: `share://INITECH/${id.toString('hex')}` }),
    },
    { title: 'a name without end', lie: (lane, id) => answer(lane, id, good, { name: 'x'.repeat(256) }) },
    { title: 'an owner that is no node', lie: (lane, id) => answer(lane, id, good, { ownerNode: 'A/B' }) },
    { title: 'a time before all time', lie: (lane, id) => answer(lane, id, good, { createTimeMs: -1n }) },
    {
      title: 'no share and no manifest',
      lie: lane => lane.put({ $case: 'fileOpened', value: { session: 1, share: undefined, manifest: undefined } }),
    },
  ];
for (const { title, lie } of MANIFEST_LIES) {
  attack(
    `a holder that answers with ${title} is refused with MANIFEST_INVALID, and the link stays`,
    async (t, scene) => {
      const { lane, opening, shareId } = await asked(scene);
      lie(lane, shareId);
      const error = await t.throwsAsync(opening, { instanceOf: FedgateError });
      t.is(error?.reason, 'MANIFEST_INVALID');
      t.is((await lane.next('fileClose')).session, 1);
      alarmed(t, 'MANIFEST_INVALID');
      lane.link.control.call.cancel();
    },
  );
}

const DATA_LIES: readonly { readonly title: string; readonly lie: (lane: HostileFiles) => unknown; reason?: Reason }[] =
  [
    { title: 'of a session that never was', lie: lane => lane.data({ session: 9 }) },
    { title: 'of a piece that is not wanted', lie: lane => lane.data({ piece: 1 }) },
    { title: 'of a piece that is not there', lie: lane => lane.data({ piece: 4_000_000 }) },
    { title: 'that leaves a hole', lie: lane => lane.data({ offset: 1 }) },
    { title: 'that comes twice', lie: lane => lane.data({}).data({}) },
    { title: 'beyond the piece', lie: lane => lane.data({ data: Buffer.alloc(MIB) }).data({ offset: MIB }) },
    { title: 'that is none', lie: lane => lane.data({ data: Buffer.alloc(0) }), reason: 'FRAME_MALFORMED' },
    {
      title: 'over the limit of a chunk',
      lie: lane => lane.data({ data: Buffer.alloc(MIB + 1) }),
      reason: 'FRAME_TOO_LARGE',
    },
  ];
for (const { title, lie, reason = 'FRAME_UNEXPECTED' } of DATA_LIES) {
  attack(`data ${title} ends the link with ${reason}`, async (t, scene) => {
    const { lane, download } = await wanted(scene);
    lie(lane);
    await endsWith(t, lane, reason);
    t.is((download.ended.reason as FedgateError).reason, 'PEER_UNREACHABLE');
    if (reason === 'FRAME_UNEXPECTED') alarmed(t, reason);
  });
}

attack('data beyond the credit ends the link with CREDIT_EXCEEDED', async (t, scene) => {
  const { lane, opening, shareId } = await asked(scene);
  answer(lane, shareId, manifestOf(64 * MIB, 16 * MIB));
  const download = await opening;
  const readers = [0, 1, 2].map(piece => download.readPiece(piece, 0, forever)[Symbol.asyncIterator]());
  for (const reader of readers) void reader.next().catch(() => undefined);
  await lane.next('fileWant', ({ piece }) => piece === 2);
  for (const piece of [0, 1])
    for (let offset = 0; offset < 16 * MIB; offset += MIB) lane.data({ piece, offset, data: Buffer.alloc(MIB) });
  await endsWith(t, lane, 'CREDIT_EXCEEDED');
  alarmed(t, 'CREDIT_EXCEEDED');
});

attack('data in chunks of a byte ends the link when the reader is behind', async (t, scene) => {
  const { lane, opening, shareId } = await asked(scene);
  answer(lane, shareId, good);
  const reader = (await opening).readPiece(0, 0, forever)[Symbol.asyncIterator]();
  void reader.next().catch(() => undefined);
  await lane.next('fileCredit');
  for (let offset = 0; offset < 5_000; offset++) lane.data({ offset, data: Buffer.alloc(1) });
  await endsWith(t, lane, 'FRAME_UNEXPECTED');
});

attack('data in small chunks ends the link, also when few of them wait for their reader', async (t, scene) => {
  const { lane, download, reading } = await wanted(scene);
  lane.data({ data: Buffer.alloc(1_000_000) });
  // Fewer than may wait for a reader.
  for (let offset = 1_000_000; offset < 1_002_000; offset++) lane.data({ offset, data: Buffer.alloc(1) });
  await endsWith(t, lane, 'FRAME_UNEXPECTED');
  await t.throwsAsync(reading);
  t.is((download.ended.reason as FedgateError).reason, 'PEER_UNREACHABLE');
  alarmed(t, 'FRAME_UNEXPECTED');
});

attack('data that goes on after a download was closed ends the link once the credit is used up', async (t, scene) => {
  const { lane, download, reading } = await wanted(scene);
  download.close(false);
  await t.throwsAsync(reading);
  await lane.next('fileClose');
  lane.data({ data: Buffer.alloc(MIB) });
  lane.data({ data: Buffer.alloc(1) });
  await endsWith(t, lane, 'CREDIT_EXCEEDED');
});

attack('data before the answer, or a second answer, ends the link', async (t, scene) => {
  const early = await asked(scene);
  early.lane.data({});
  await endsWith(t, early.lane, 'FRAME_UNEXPECTED');
  const twice = await asked(scene);
  answer(twice.lane, twice.shareId, good);
  await twice.opening;
  answer(twice.lane, twice.shareId, good);
  await endsWith(t, twice.lane, 'FRAME_UNEXPECTED');
});

attack(
  'the end in the middle of a piece is the end of the download, and what comes after it of the link',
  async (t, scene) => {
    const { lane, reading, download } = await wanted(scene);
    lane.data({ data: Buffer.alloc(1_000) });
    const error = toRpcStatus(
      new FedgateError('SHARE_ENDED', `x${'y'.repeat(100_000)}`, { metadata: { why: 'z'.repeat(9_999) } }),
    );
    lane.put({ $case: 'fileEnd', value: { session: 1, error } });
    const thrown = await t.throwsAsync(reading, { instanceOf: FedgateError });
    t.is(thrown?.reason, 'SHARE_ENDED');
    t.true((thrown?.message.length ?? 0) <= 501 && (thrown?.metadata.why?.length ?? 0) <= 100);
    t.true(download.ended.aborted);
    lane.data({ offset: 1_000 });
    await endsWith(t, lane, 'CREDIT_EXCEEDED');
  },
);

attack(
  'the end of a session that never was ends the link, one of a session that is over changes nothing',
  async (t, scene) => {
    const { lane, opening } = await asked(scene);
    const end = { $case: 'fileEnd', value: { session: 1, error: undefined } } as const;
    lane.put(end).put(end);
    const error = await t.throwsAsync(opening, { instanceOf: FedgateError });
    t.is(error?.reason, 'PEER_UNREACHABLE');
    lane.put({ $case: 'fileEnd', value: { session: 2, error: undefined } });
    await endsWith(t, lane, 'FRAME_UNEXPECTED');
  },
);
