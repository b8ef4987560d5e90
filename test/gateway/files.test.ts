import { createHash, randomBytes } from 'node:crypto';
import test from 'ava';
import { freePort } from '../../src/demo/free-port.js';
import { addNode } from '../../src/gateway/add-node.js';
import { FaultyWire } from '../faults/support/proxy.js';
import { seededRandom } from '../faults/support/random.js';
import { fedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { audience, FileClient, refusal, startOf } from '../support/file-client.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { startTestRegistry, type TestScope } from '../support/registry.js';

const ALL = 'nodes: [{ node: "*", publish: [], subscribe: [], share: ["*"], fetch: ["*"], admin: true, status: true }]';
const MIB = 1024 * 1024;

/** Resolves once something holds that no event tells of. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setImmediate(resolve));
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

test.serial('files: a node fetches what another node of its organisation shared', async t => {
  const { ACME } = await startFederation(t, { ACME: { access: ALL } });
  const [billing, erp] = [
    await FileClient.of(t, await ACME.context('billing')),
    await FileClient.of(t, await ACME.context('erp')),
  ];
  const content = randomBytes(9 * MIB + 5);
  const share = await billing.share(content, { name: 'a.bin', audience: audience({ orgs: ['ACME'] }) });
  t.is(share.size, BigInt(content.length));
  t.deepEqual(Buffer.from(share.sha256), sha256(content));
  t.true((await erp.fetch(share.id).bytes()).equals(content));
  const part = erp.fetch(share.id, { offset: 4194300n, length: 10n });
  t.deepEqual(await part.bytes(4194300), content.subarray(4194300, 4194310));
});

for (const dialler of ['the holder', 'the asker'] as const) {
  test.serial(
    `files: a node fetches what a node of another organisation shared, when only ${dialler} can dial`,
    async t => {
      const orgs = await startFederation(t, {
        ACME: { access: ALL, reachable: dialler === 'the asker', extra: 'links: { dial: all }' },
        GLOBEX: { access: ALL, reachable: dialler === 'the holder', extra: 'links: { dial: all }' },
      });
      const billing = await FileClient.of(t, await orgs.ACME.context('billing'));
      const erp = await FileClient.of(t, await orgs.GLOBEX.context('erp'));
      const content = randomBytes(21 * MIB + 5);
      const share = await billing.share(content, { name: 'a.bin', audience: audience({ orgs: ['GLOBEX'] }) });
      const fetching = erp.fetch(share.id, { withManifest: true });
      const opened = await fetching.opened();
      t.is(opened.cachedBytes, 0n);
      t.is(opened.share?.audience, undefined);
      t.true((await fetching.bytes()).equals(content));
      // The second fetch comes from the own gateway, and counts as well.
      const again = erp.fetch(share.id);
      t.is((await again.opened()).cachedBytes, BigInt(content.length));
      t.true((await again.bytes()).equals(content));
      t.is((await billing.getShare(share.id)).share?.downloads, 2);
    },
  );
}

/** Reads at least so many bytes of chunks. */
async function read(chunks: AsyncGenerator<Buffer>, atLeast: number): Promise<Buffer> {
  const taken: Buffer[] = [];
  let bytes = 0;
  while (bytes < atLeast) {
    const { value, done } = await chunks.next();
    if (done || !value) break;
    taken.push(value);
    bytes += value.length;
  }
  return Buffer.concat(taken);
}

async function nodesOf(t: TestScope, acme: GatewayProcess, globex: GatewayProcess) {
  const node = async (gateway: GatewayProcess, name: string): Promise<FileClient> =>
    FileClient.of(t, await addNode({ folder: gateway.folder, name, gateway: 'gw1', address: gateway.nodes }));
  return { billing: await node(acme, 'billing'), erp: await node(globex, 'erp') };
}

/** Two gateways as processes, each with a node, and what ACME shares with GLOBEX. */
async function twoProcesses(t: TestScope, size: number) {
  const registry = await startTestRegistry(t);
  const acme = await GatewayProcess.join(t, registry, 'ACME', ALL);
  const globex = await GatewayProcess.join(t, registry, 'GLOBEX', ALL);
  const { billing, erp } = await nodesOf(t, acme, globex);
  const content = randomBytes(size);
  const { id } = await billing.share(content, { audience: audience({ orgs: ['GLOBEX'] }) });
  return { acme, globex, billing, erp, content, id };
}

/** What came from the other gateway for the next fetch that ends. */
async function receivedFor(client: FileClient, state: number): Promise<bigint> {
  const stop = new AbortController();
  try {
    for await (const transfer of client.watchTransfers(stop.signal)) {
      if (transfer.kind === 2 && transfer.state === state) return transfer.receivedBytes;
    }
  } finally {
    stop.abort();
  }
  return -1n;
}

test.serial('files: the status says what is shared, what is cached, and what is under way', async t => {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: { access: ALL, extra: 'files: { sharedBytes: 1073741824 }' },
    GLOBEX: { access: ALL, extra: 'files: { cacheBytes: 2147483648 }' },
  });
  const billing = await FileClient.of(t, await ACME.context('billing'));
  const erp = await FileClient.of(t, await GLOBEX.context('erp'));
  const status = (org: TestOrg) => org.gateway.status().files;
  t.like(status(ACME), { shares: 0, uploads: 0, sharedBytes: 0n, sharedBytesMax: 1024n ** 3n, uploading: 0 });
  const content = randomBytes(9 * MIB);
  const uploadId = randomBytes(16);
  const upload = billing.upload();
  upload.send({ $case: 'start', value: startOf({ uploadId, size: BigInt(content.length) }) });
  await until(() => status(ACME)?.uploading === 1);
  // What is offered is reserved, all of it.
  t.like(status(ACME), { shares: 0, uploads: 1, sharedBytes: BigInt(content.length) });
  upload.cancel();
  await until(() => status(ACME)?.uploading === 0);
  await billing.cancelUpload(uploadId);
  t.like(status(ACME), { uploads: 0, sharedBytes: 0n });
  const share = await billing.share(content, { audience: audience({ orgs: ['GLOBEX'] }) });
  const fetching = erp.fetch(share.id);
  await fetching.opened();
  t.like(status(GLOBEX), { fetching: 1, cachedBytesMax: 2n * 1024n ** 3n });
  t.like(status(ACME), { shares: 1, sending: 1 });
  await fetching.bytes();
  await until(() => status(GLOBEX)?.fetching === 0 && status(ACME)?.sending === 0);
  t.true((status(GLOBEX)?.cachedBytes ?? 0n) >= BigInt(content.length));
  await billing.unshare(share.id);
  t.is(status(ACME)?.shares, 0);
  const { stdout } = await fedgate(['status', '--context', await GLOBEX.context('operator')]);
  t.regex(
    stdout,
    /^files: 0 shares, 0 B of 100.0 GiB, 0 unfinished uploads; cache 9.0 MiB of 2.0 GiB; under way: 0 shared/m,
  );
});

test.serial(
  'files: the gateway of whoever fetches is killed in the middle, and no piece that it had is sent again',
  async t => {
    const { globex, erp, content, id } = await twoProcesses(t, 64 * MIB);
    const downloadId = randomBytes(16);
    const chunks = erp.fetch(id, { downloadId }).chunks();
    const first = await read(chunks, 13 * MIB);
    await globex.kill();
    t.is((await refusal(read(chunks, 64 * MIB))).status, 'UNAVAILABLE');
    await globex.start();
    const received = receivedFor(erp, 2);
    const again = erp.fetch(id, { downloadId });
    const { cachedBytes } = await again.opened();
    t.true(cachedBytes >= BigInt(first.length - (first.length % (4 * MIB))), `${cachedBytes} of ${first.length}`);
    t.true(cachedBytes < 64 * MIB);
    t.true((await again.bytes()).equals(content));
    t.is(await received, BigInt(content.length) - cachedBytes);
  },
);

test.serial(
  'files: the gateway of the holder is killed in the middle; the stream goes on, and counts once',
  async t => {
    const { acme, erp, billing, content, id } = await twoProcesses(t, 64 * MIB);
    const received = receivedFor(erp, 2);
    const chunks = erp.fetch(id).chunks();
    const first = await read(chunks, 5 * MIB);
    await acme.kill();
    await acme.start();
    const rest = await read(chunks, 64 * MIB);
    t.true(Buffer.concat([first, rest]).equals(content));
    t.is(await received, BigInt(content.length));
    t.is((await billing.getShare(id)).share?.downloads, 1);
  },
);

test.serial(
  'files: unsharing ends a download of another organisation within one piece, and so does losing the place in its audience',
  async t => {
    const { erp, billing, content, id } = await twoProcesses(t, 64 * MIB);
    const part = erp.fetch(id, { length: 1n });
    await part.bytes();
    const before = await billing.share(content, { audience: audience({ nodes: ['GLOBEX/erp'] }) });
    for (const [share, end, reason] of [
      [before.id, () => billing.updateShare(before.id, { audience: audience({ orgs: ['ACME'] }) }), 'SHARE_UNKNOWN'],
      [id, () => billing.unshare(id), 'SHARE_ENDED'],
    ] as const) {
      const chunks = erp.fetch(share).chunks();
      const first = await read(chunks, MIB);
      await end();
      let came = first.length;
      const error = await refusal(
        (async () => {
          for await (const chunk of chunks) came += chunk.length;
        })(),
      );
      t.is(error.reason, reason);
      t.true(came < 32 * MIB, `${came}`);
      t.is((await refusal(erp.fetch(share).bytes())).reason, reason);
    }
  },
);

test.serial('files: a gateway that drains ends streams with a reason, and they go on afterwards', async t => {
  const { globex, erp, content, id } = await twoProcesses(t, 64 * MIB);
  const downloadId = randomBytes(16);
  const chunks = erp.fetch(id, { downloadId }).chunks();
  const first = await read(chunks, 9 * MIB);
  const stopped = globex.kill('SIGTERM');
  const late: Buffer[] = [first];
  const error = await refusal(
    (async () => {
      for await (const chunk of chunks) late.push(chunk);
    })(),
  );
  t.is(error.reason, 'DRAINING');
  await stopped;
  await globex.start();
  const came = Buffer.concat(late);
  const rest = await erp.fetch(id, { downloadId, offset: BigInt(came.length) }).bytes(came.length);
  t.true(Buffer.concat([came, rest]).equals(content));
});

test.serial(
  'files: an organisation that is outside of the audience, and one that was never told, learn the same',
  async t => {
    const { erp, billing } = await twoProcesses(t, MIB);
    const hidden = await billing.share(Buffer.from('x'), { audience: audience({ nodes: ['GLOBEX/other'] }) });
    const guess = `share://ACME/${randomBytes(16).toString('hex')}`;
    for (const call of [(share: string) => erp.fetch(share).bytes(), (share: string) => erp.getShare(share)]) {
      const [first, second] = [await refusal(call(hidden.id)), await refusal(call(guess))];
      t.is(first.reason, 'SHARE_UNKNOWN');
      t.is(second.reason, 'SHARE_UNKNOWN');
      t.is(first.message.replace(hidden.id, '?'), second.message.replace(guess, '?'));
    }
  },
);

test.serial('files: a connection between the gateways that is reset again and again costs no byte twice', async t => {
  const registry = await startTestRegistry(t);
  const peers = `127.0.0.1:${await freePort()}`;
  const wire = await FaultyWire.open(t, peers, seededRandom(7));
  const acme = await GatewayProcess.join(t, registry, 'ACME', ALL, { peers, addresses: [wire.address] });
  const globex = await GatewayProcess.join(t, registry, 'GLOBEX', ALL, { addresses: [] });
  const { billing, erp } = await nodesOf(t, acme, globex);
  const content = randomBytes(64 * MIB);
  const { id } = await billing.share(content, { audience: audience({ orgs: ['GLOBEX'] }) });
  const received = receivedFor(erp, 2);
  const chunks = erp.fetch(id).chunks();
  const parts: Buffer[] = [];
  for (let resets = 0; resets < 3; resets++) {
    parts.push(await read(chunks, 8 * MIB));
    wire.cut();
    wire.heal();
  }
  parts.push(await read(chunks, 64 * MIB));
  t.true(Buffer.concat(parts).equals(content));
  t.is(await received, BigInt(content.length));
  t.is((await billing.getShare(id)).share?.downloads, 1);
});
