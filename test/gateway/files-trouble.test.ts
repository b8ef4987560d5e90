import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { appendFile, cp, readdir, rm, statfs, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { addNode } from '../../src/gateway/add-node.js';
import { readKeyAndCertificate, writeKeyAndCertificate } from '../../src/identity/files.js';
import { issueLeaf } from '../../src/identity/issue.js';
import { orgFolder, readMembership } from '../../src/identity/org-folder.js';
import { smallDisk } from '../store/small-disk.js';
import { audience, FileClient, refusal } from '../support/file-client.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry, type TestRegistry, type TestScope } from '../support/registry.js';

/** Two gateways as their operators run them, with a node at each; ACME shares. */
interface Pair {
  readonly registry: TestRegistry;
  readonly acme: GatewayProcess;
  readonly globex: GatewayProcess;
  readonly billing: FileClient;
  readonly erp: FileClient;
}

/** One pair for all that leaves it as it was. */
const test = anyTest as TestFn<Pair & { readonly undo: (() => unknown)[] }>;

const ALL = 'nodes: [{ node: "*", publish: [], subscribe: [], share: ["*"], fetch: ["*"], admin: true }]';
const MIB = 1024 * 1024;
const PIECE = 4 * MIB;
const TO_GLOBEX = { audience: audience({ orgs: ['GLOBEX'] }) };
const TIMEOUT_MS = 300_000;

/** `prepare`: what is done to GLOBEX before it starts. */
async function open(t: TestScope, prepare: (globex: GatewayProcess) => Promise<void> = async () => undefined) {
  const registry = await startTestRegistry(t);
  const acme = await GatewayProcess.join(t, registry, 'ACME', ALL, { extra: 'groups: { partners: [GLOBEX] }' });
  const globex = await GatewayProcess.prepare(t, registry, 'GLOBEX', ALL);
  await prepare(globex);
  await globex.start();
  return { registry, acme, globex, billing: await nodeOf(t, acme, 'billing'), erp: await nodeOf(t, globex, 'erp') };
}

const nodeOf = async (t: TestScope, { folder, nodes }: GatewayProcess, name: string): Promise<FileClient> =>
  FileClient.of(t, await addNode({ folder, name, gateway: 'gw1', address: nodes }));

test.before(async t => {
  const undo: (() => unknown)[] = [];
  Object.assign(t.context, await open({ teardown: each => void undo.push(each) }), { undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

/** Reads at least so many bytes of chunks. */
async function read(chunks: AsyncGenerator<Buffer>, atLeast: number): Promise<Buffer> {
  const taken: Buffer[] = [];
  for (let bytes = 0; bytes < atLeast; ) {
    const { value, done } = await chunks.next();
    if (done || !value) break;
    taken.push(value);
    bytes += value.length;
  }
  return Buffer.concat(taken);
}

/** Reads to the end, whatever that is. */
async function rest(
  chunks: AsyncGenerator<Buffer>,
): Promise<{ readonly bytes: Buffer; readonly error?: FedgateError }> {
  const taken: Buffer[] = [];
  const error = await refusal(
    (async () => {
      for await (const chunk of chunks) taken.push(chunk);
      throw new Error('no refusal');
    })(),
  );
  const bytes = Buffer.concat(taken);
  return error.message.includes('no refusal') ? { bytes } : { bytes, error };
}

/** Begins to watch; returns what waits until so many fetches have ended, and tells what other gateways sent for them. */
function received(client: FileClient, fetches: number): () => Promise<bigint> {
  const stop = new AbortController();
  const all = (async () => {
    let bytes = 0n;
    let ended = 0;
    for await (const { kind, state, receivedBytes } of client.watchTransfers(stop.signal)) {
      if (kind !== 2 || state === 1) continue;
      bytes += receivedBytes;
      if (++ended === fetches) break;
    }
    return bytes;
  })();
  return () => all.finally(() => stop.abort());
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const openFiles = ({ pid }: GatewayProcess): number => readdirSync(`/proc/${pid}/fd`).length;

type Context = ExecutionContext<Pair>;

async function endsWhenItExpires(t: Context, cached: boolean): Promise<void> {
  t.timeout(TIMEOUT_MS);
  const { billing, erp } = t.context;
  const content = randomBytes(64 * MIB);
  const { id } = await billing.share(content, TO_GLOBEX);
  if (cached) await erp.fetch(id).bytes();
  const chunks = erp.fetch(id).chunks();
  const first = await read(chunks, MIB);
  const expireMs = Date.now() + 2_000;
  await billing.updateShare(id, { expireTimeMs: BigInt(expireMs) });
  // What was sent before that fills the windows on the way, and nothing comes after it.
  await sleep(expireMs - Date.now() + 500);
  const { bytes, error } = await rest(chunks);
  t.is(error?.reason, 'SHARE_ENDED');
  t.is(error?.metadata.why, 'expired');
  t.true(first.length + bytes.length < 32 * MIB, `${bytes.length}`);
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'SHARE_ENDED');
}

test.serial('files: a download through the link ends when its share expires', t => endsWhenItExpires(t, false));

test.serial('files: a download of what the own gateway has already ends when its share expires', t =>
  endsWhenItExpires(t, true),
);

test.serial('files: of two nodes that ask at once for what may be downloaded once, one gets it', async t => {
  const { billing, erp, globex } = t.context;
  const other = await nodeOf(t, globex, 'other');
  const content = randomBytes(PIECE + 1);
  const { id } = await billing.share(content, { ...TO_GLOBEX, maxDownloads: 1 });
  const ends = await Promise.all([erp, other].map(node => rest(node.fetch(id).chunks())));
  t.is(ends.filter(({ bytes, error }) => !error && bytes.equals(content)).length, 1);
  t.deepEqual(
    ends.flatMap(({ error }) => error?.reason ?? []),
    ['SHARE_ENDED'],
  );
});

test.serial('files: a share for a group is for its organisations, and unknown to others', async t => {
  const { billing, erp, registry } = t.context;
  const initech = await GatewayProcess.join(t, registry, 'INITECH', ALL);
  const { id } = await billing.share(Buffer.from('x'), { audience: audience({ groups: ['partners'] }) });
  t.is((await erp.fetch(id).bytes()).toString(), 'x');
  t.is((await refusal((await nodeOf(t, initech, 'erp')).fetch(id).bytes())).reason, 'SHARE_UNKNOWN');
});

test.serial('files: none, one byte, and whole pieces cross, twice, and nothing is behind their ends', async t => {
  t.timeout(TIMEOUT_MS);
  const { billing, erp } = t.context;
  for (const size of [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE]) {
    const content = randomBytes(size);
    const { id } = await billing.share(content, TO_GLOBEX);
    t.true((await erp.fetch(id).bytes()).equals(content), `${size}`);
    t.true((await erp.fetch(id).bytes()).equals(content), `${size} again`);
    t.is((await erp.fetch(id, { offset: BigInt(size) }).bytes(size)).length, 0);
    t.is((await refusal(erp.fetch(id, { offset: BigInt(size + 1) }).bytes())).reason, 'OFFSET_INVALID');
  }
});

test.serial('files: one content crosses once, however many fetch it at once, by whichever share', async t => {
  t.timeout(TIMEOUT_MS);
  const { billing, erp } = t.context;
  const content = randomBytes(5 * PIECE + 3);
  const shares = [await billing.share(content, TO_GLOBEX), await billing.share(content, TO_GLOBEX)];
  const bytes = received(erp, 40);
  const fetches = Array.from({ length: 20 }, () => shares.map(({ id }) => erp.fetch(id).bytes())).flat();
  for (const came of await Promise.all(fetches)) t.is(digest(came), digest(content));
  t.is(await bytes(), BigInt(content.length));
});

test.serial('files: many small files one after another leave nothing open and nothing unfinished', async t => {
  t.timeout(TIMEOUT_MS);
  const { billing, erp, acme, globex } = t.context;
  const cross = async (files: number): Promise<void> => {
    for (let i = 0; i < files; i++) {
      const content = randomBytes(1 + (i % 1000));
      const { id } = await billing.share(content, TO_GLOBEX);
      t.true((await erp.fetch(id).bytes()).equals(content));
    }
  };
  await cross(20);
  const before = [acme, globex].map(openFiles);
  await cross(200);
  for (const [i, gateway] of [acme, globex].entries()) {
    t.true(openFiles(gateway) <= (before[i] ?? 0) + 3, `${before[i]} before, ${openFiles(gateway)} behind them`);
    const names = await readdir(gateway.folder, { recursive: true });
    t.deepEqual(
      names.filter(name => name.includes('/incoming/')),
      [],
    );
  }
});

test.serial(
  'files: a piece that goes bad on the disk of the holder in the middle ends the stream before its end; shared again, it goes on',
  async t => {
    t.timeout(TIMEOUT_MS);
    const { billing, erp, acme } = t.context;
    const content = randomBytes(16 * PIECE);
    const { id } = await billing.share(content, TO_GLOBEX);
    const downloadId = randomBytes(16);
    const chunks = erp.fetch(id, { downloadId }).chunks();
    const first = await read(chunks, MIB);
    const last = content.subarray(-PIECE);
    const [name = ''] = (await readdir(acme.folder, { recursive: true })).filter(each => each.endsWith(digest(last)));
    const flipped = Buffer.from(last);
    flipped[12_345] = (flipped[12_345] ?? 0) ^ 1;
    await writeFile(join(acme.folder, name), flipped);
    const { bytes, error } = await rest(chunks);
    t.is(error?.reason, 'FILE_DAMAGED');
    const came = Buffer.concat([first, bytes]);
    t.true(came.length < content.length && came.equals(content.subarray(0, came.length)), `${came.length}`);
    t.is((await refusal(erp.fetch(id, { downloadId }).bytes())).reason, 'FILE_DAMAGED');
    await billing.share(content, TO_GLOBEX);
    t.true((await erp.fetch(id, { downloadId }).bytes()).equals(content));
    t.is((await billing.getShare(id)).share?.downloads, 1);
  },
);

async function brokenInTheMiddle(t: Context, breakIt: (holder: GatewayProcess) => Promise<void>): Promise<void> {
  t.timeout(TIMEOUT_MS);
  const { billing, erp, acme } = t.context;
  const content = randomBytes(64 * MIB);
  const { id } = await billing.share(content, { ...TO_GLOBEX, maxDownloads: 1 });
  const bytes = received(erp, 1);
  const chunks = erp.fetch(id).chunks();
  const first = await read(chunks, MIB);
  const broken = breakIt(acme);
  t.true(Buffer.concat([first, (await rest(chunks)).bytes]).equals(content));
  await broken;
  t.is(await bytes(), BigInt(content.length));
}

/** Links believe in a silent peer for 2 s here. */
async function standStill(gateway: GatewayProcess): Promise<void> {
  gateway.signal('SIGSTOP');
  await sleep(5_000);
  gateway.signal('SIGCONT');
}

async function restart(gateway: GatewayProcess): Promise<void> {
  await gateway.kill('SIGTERM');
  await gateway.start();
}

test.serial(
  'files: in the middle the holder stands still for longer than links believe in it; no byte crosses twice, and it is one download',
  t => brokenInTheMiddle(t, standStill),
);

test.serial(
  'files: in the middle the holder is stopped and started again; no byte crosses twice, and it is one download',
  t => brokenInTheMiddle(t, restart),
);

/** As operations.md says: another certificate and key of the same CA, and the gateway is started again. */
async function replaceCertificate(gateway: GatewayProcess): Promise<void> {
  const { authority, gateway: ofGateway } = orgFolder(gateway.folder);
  const { federation, org } = await readMembership(gateway.folder);
  const ca = await readKeyAndCertificate(join(authority, 'tls.key'), join(authority, 'tls.crt'));
  const fresh = await issueLeaf(ca, federation, { org, role: 'gateway', name: 'gw1' });
  await gateway.kill('SIGTERM');
  await writeKeyAndCertificate(ofGateway('gw1'), fresh);
  await gateway.start();
}

test.serial(
  'files: in the middle the certificate of the holder is replaced; no byte crosses twice, and it is one download',
  t => brokenInTheMiddle(t, replaceCertificate),
);

test.serial(
  'files: in the middle the certificate of whoever fetches is replaced; no verified piece crosses twice, and it is one download',
  async t => {
    t.timeout(TIMEOUT_MS);
    const { billing, erp, globex } = t.context;
    const content = randomBytes(64 * MIB);
    const { id } = await billing.share(content, { ...TO_GLOBEX, maxDownloads: 1 });
    const downloadId = randomBytes(16);
    const chunks = erp.fetch(id, { downloadId }).chunks();
    const first = await read(chunks, 3 * PIECE + MIB);
    await replaceCertificate(globex);
    // What was on its way comes, and then the reason.
    const { bytes, error } = await rest(chunks);
    t.truthy(error);
    const came = Buffer.concat([first, bytes]);
    const crossed = received(erp, 1);
    const again = erp.fetch(id, { downloadId });
    const { cachedBytes } = await again.opened();
    t.true(cachedBytes >= BigInt(came.length - (came.length % PIECE)), `${cachedBytes} of ${came.length}`);
    t.true((await again.bytes()).equals(content));
    t.is(await crossed(), BigInt(content.length) - cachedBytes);
  },
);

test.serial('files: suspending the organisation of the holder ends its downloads elsewhere', async t => {
  t.timeout(TIMEOUT_MS);
  const { billing, erp, registry } = t.context;
  const { id } = await billing.share(randomBytes(64 * MIB), TO_GLOBEX);
  const chunks = erp.fetch(id).chunks();
  await read(chunks, MIB);
  await registry.admin.setState('ACME', 'suspended');
  t.teardown(() => registry.admin.setState('ACME', 'active'));
  const said = refusal(
    (async () => {
      // As slow as it takes for the word to get round.
      for await (const _ of chunks) await sleep(100);
    })(),
  );
  t.is((await said).reason, 'ORG_INACTIVE');
  t.is((await refusal(erp.fetch(id).bytes())).reason, 'ORG_INACTIVE');
});

test.serial(
  'files: the disk of the asker fills up in the middle; when there is room again, the same download goes on',
  async t => {
    t.timeout(TIMEOUT_MS);
    const disk = await smallDisk(t, 96 * MIB);
    if (!disk) return;
    const reserves = 'files: { reserveBytes: 1048576 }\ndurable: { reserveBytes: 1048576 }\n';
    const { billing, erp } = await open(t, async ({ folder }) => {
      await appendFile(join(folder, 'gateway.yaml'), reserves);
      await cp(join(folder, 'state'), join(disk, 'state'), { recursive: true });
      await rm(join(folder, 'state'), { recursive: true });
      await symlink(join(disk, 'state'), join(folder, 'state'));
    });
    const content = randomBytes(12 * PIECE);
    const { id } = await billing.share(content, { ...TO_GLOBEX, maxDownloads: 1 });
    const downloadId = randomBytes(16);
    const chunks = erp.fetch(id, { downloadId }).chunks();
    const first = await read(chunks, MIB);
    const { bavail, bsize } = await statfs(disk);
    const filler = join(disk, 'filler');
    await writeFile(filler, Buffer.alloc(bavail * bsize)).catch(() => undefined);
    const { bytes, error } = await rest(chunks);
    t.is(error?.status, 'RESOURCE_EXHAUSTED', error?.message);
    t.is((await refusal(erp.fetch(id, { downloadId }).bytes())).status, 'RESOURCE_EXHAUSTED');
    await unlink(filler);
    const came = Buffer.concat([first, bytes]);
    const offset = came.length - (came.length % PIECE);
    const again = erp.fetch(id, { downloadId, offset: BigInt(offset) });
    t.true((await again.bytes(offset)).equals(content.subarray(offset)));
    t.true(came.equals(content.subarray(0, came.length)));
  },
);
