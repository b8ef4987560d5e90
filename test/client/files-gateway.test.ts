import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { Deferred } from '../../src/client/deferred.js';
import type { FedgateClient, SharedFile, Transfer, TransferProgress } from '../../src/client/index.js';
import { GatewayProcess } from '../support/gateway-process.js';
import { refused } from '../support/reasons.js';
import { startTestRegistry, type TestScope, temporaryFolder } from '../support/registry.js';

interface World {
  readonly ACME: GatewayProcess;
  readonly GLOBEX: GatewayProcess;
  readonly acme: FedgateClient;
  readonly globex: FedgateClient;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

const ACCESS = 'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"], share: ["*"], fetch: ["*"] }]';
const MIB = 1024 * 1024;
const TO_GLOBEX = { audience: { orgs: ['GLOBEX'] } };

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const registry = await startTestRegistry(scope);
  const [ACME, GLOBEX] = [
    await GatewayProcess.join(scope, registry, 'ACME', ACCESS),
    await GatewayProcess.join(scope, registry, 'GLOBEX', ACCESS),
  ];
  const [acme, globex] = [await ACME.node(scope, 'billing'), await GLOBEX.node(scope, 'erp')];
  Object.assign(t.context, { ACME, GLOBEX, acme, globex, undo });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

type Context = ExecutionContext<World>;

async function makeFile(t: Context, bytes: number): Promise<{ folder: string; path: string; content: Buffer }> {
  const folder = await temporaryFolder(t);
  const content = randomBytes(bytes);
  await writeFile(join(folder, 'source.bin'), content);
  return { folder, path: join(folder, 'source.bin'), content };
}

/** Calls back once, when so many bytes are done. */
function at(bytes: number, act: () => void): (progress: TransferProgress) => void {
  let done = false;
  return ({ doneBytes }) => {
    if (done || doneBytes < bytes) return;
    done = true;
    act();
  };
}

/** Kills a gateway the hard way and starts it again. */
async function restart(gateway: GatewayProcess): Promise<void> {
  await gateway.kill();
  await gateway.start();
}

test.serial('share, fetch: a stream crosses to another organisation, a range of it too', async t => {
  const { acme, globex } = t.context;
  const { folder, path, content } = await makeFile(t, 9 * MIB + 17);
  const shared = await acme.share(createReadStream(path), { ...TO_GLOBEX, name: 'stream' });
  const to = join(folder, 'out.bin');
  const { share } = await globex.fetch(shared.id, { to });
  t.true((await readFile(to)).equals(content));
  t.like(share, { name: 'stream', ownerNode: 'billing', audience: undefined, sha256: shared.sha256 });
  const parts: Buffer[] = [];
  for await (const part of await globex.fetchStream(shared.id, { offset: 4 * MIB - 3, length: 5 * MIB }))
    parts.push(part);
  t.true(Buffer.concat(parts).equals(content.subarray(4 * MIB - 3, 9 * MIB - 3)));
  await refused(t, 'OFFSET_INVALID', () => globex.fetchStream(shared.id, { offset: content.length, length: 1 }));
});

test.serial('share: goes on when the gateway is killed in the middle, without anybody doing anything', async t => {
  t.timeout(120_000);
  const { ACME, acme, globex } = t.context;
  const { path, content, folder } = await makeFile(t, 96 * MIB);
  const restarts: Promise<void>[] = [];
  const onProgress = at(48 * MIB, () => restarts.push(restart(ACME)));
  const shared = await acme.share(path, { ...TO_GLOBEX, onProgress });
  t.is(restarts.length, 1);
  await Promise.all(restarts);
  t.is(shared.size, content.length);
  const to = join(folder, 'out.bin');
  await globex.fetch(shared.id, { to });
  t.true((await readFile(to)).equals(content));
});

for (const victim of ['GLOBEX', 'ACME'] as const) {
  test.serial(`fetch: goes on when the gateway of ${victim} is killed in the middle, as one download`, async t => {
    t.timeout(120_000);
    const { acme, globex } = t.context;
    const { path, content, folder } = await makeFile(t, 96 * MIB);
    const shared = await acme.share(path, { ...TO_GLOBEX, maxDownloads: 1 });
    const restarts: Promise<void>[] = [];
    const onProgress = at(32 * MIB, () => restarts.push(restart(t.context[victim])));
    const to = join(folder, 'out.bin');
    await globex.fetch(shared.id, { to, onProgress });
    t.is(restarts.length, 1);
    await Promise.all(restarts);
    t.true((await readFile(to)).equals(content));
  });
}

test.serial('share: of two calls with one upload id the newer ends well, the older as taken over', async t => {
  t.timeout(120_000);
  const { ACME, acme } = t.context;
  const { path } = await makeFile(t, 96 * MIB);
  const other = await ACME.node(t, 'billing');
  const uploadId = randomBytes(16);
  const second = new Deferred<SharedFile>();
  const onProgress = at(24 * MIB, () => other.share(path, { uploadId }).then(second.resolve, second.reject));
  await refused(t, 'UPLOAD_TAKEN', () => acme.share(path, { uploadId, onProgress }));
  const shared = await second.promise;
  t.is(shared.size, 96 * MIB);
  t.is((await acme.getShare(shared.id)).sha256, shared.sha256);
  await acme.unshare(shared.id);
});

test.serial('share, fetch: one client does both at once, several times, and its messages do not wait', async t => {
  t.timeout(120_000);
  const { acme } = t.context;
  const { path, content, folder } = await makeFile(t, 24 * MIB);
  const shared = await acme.share(path);
  const both = [1, 2, 3].flatMap(i => [
    acme.share(path, { name: `copy ${i}` }).then(({ sha256 }) => t.is(sha256, shared.sha256)),
    acme.fetch(shared.id, { to: join(folder, `out${i}`) }).then(({ path: out }) => readFile(out)),
  ]);
  let over = false;
  const all = Promise.all(both).finally(() => {
    over = true;
  });
  let published = 0;
  while (!over) {
    await acme.publish('orders', 'meanwhile');
    published++;
  }
  for (const out of await all) if (Buffer.isBuffer(out)) t.true(out.equals(content));
  t.true(published > 1);
});

test.serial('shares: list, update and unshare; a fetch under way ends', async t => {
  t.timeout(120_000);
  const { acme, globex } = t.context;
  const { path } = await makeFile(t, 32 * MIB);
  const shared = await acme.share(path, TO_GLOBEX);
  const listed: SharedFile[] = [];
  for await (const share of acme.listShares()) listed.push(share);
  t.true(listed.some(({ id }) => id === shared.id));
  const changed = await acme.updateShare(shared.id, { audience: { orgs: ['GLOBEX'], anyone: true }, maxDownloads: 7 });
  t.like(changed, { maxDownloads: 7, audience: { orgs: ['GLOBEX'], nodes: [], groups: [], anyone: true } });
  t.is((await globex.getShare(shared.id)).maxDownloads, 7);
  let taken = 0;
  const error = await refused(t, 'SHARE_ENDED', async () => {
    for await (const part of await globex.fetchStream(shared.id)) {
      if (taken === 0) await acme.unshare(shared.id);
      taken += part.length;
      // Slower than the gateway hears of it.
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  });
  t.truthy(error.metadata.why);
  t.true(taken < 32 * MIB);
});

test.serial('transfers: the own ones are seen as they go', async t => {
  t.timeout(120_000);
  const { acme } = t.context;
  const ended = new AbortController();
  const seen: Transfer[] = [];
  const watching = (async () => {
    for await (const transfer of acme.watchTransfers({ signal: ended.signal })) {
      seen.push(transfer);
      if (transfer.kind === 'upload' && transfer.state === 'done' && transfer.name === 'watched') return;
    }
  })();
  const { path } = await makeFile(t, 8 * MIB);
  const share = async (): Promise<void> => void (await acme.share(path, { ...TO_GLOBEX, name: 'watched' }));
  // A watch that begins late sees the next one.
  for (let over = false; !over; ) {
    await share();
    over = await Promise.race([
      watching.then(() => true),
      new Promise<false>(resolve => setTimeout(resolve, 500, false)),
    ]);
  }
  ended.abort();
  t.like(seen.at(-1), { org: 'ACME', node: 'billing', totalBytes: 8 * MIB, doneBytes: 8 * MIB, error: '' });
});

test.serial('share, fetch: memory does not grow with the size of the file', async t => {
  t.timeout(300_000);
  const { acme, globex } = t.context;
  const folder = await temporaryFolder(t);
  const path = join(folder, 'sparse.bin');
  const bytes = 600 * MIB;
  const handle = await open(path, 'w');
  await handle.truncate(bytes);
  await handle.close();
  const held = (): number => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  const before = held();
  let most = 0;
  const onProgress = (): void => {
    most = Math.max(most, held() - before);
  };
  const shared = await acme.share(path, { ...TO_GLOBEX, onProgress });
  t.true(most < 128 * MIB, `sharing held ${most} bytes more`);
  most = 0;
  await globex.fetch(shared.id, { to: join(folder, 'out.bin'), onProgress });
  t.true(most < 128 * MIB, `fetching held ${most} bytes more`);
});
