import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { Backoff } from '../../src/backoff.js';
import type { FedgateError } from '../../src/errors.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { Directory, snapshotFile } from '../../src/registry/directory.js';
import { registryFolder } from '../../src/registry/server/folder.js';
import { MAX_WATCHES_PER_ORG } from '../../src/registry/server/watch.js';
import { REGISTRY_BACKOFF, RegistryWatcher } from '../../src/registry/watcher.js';
import { refused } from '../support/reasons.js';
import {
  FEDERATION,
  joinOrg,
  memberClient,
  snapshotRules,
  startTestRegistry,
  type TestScope,
  temporaryFolder,
} from '../support/registry.js';
import { makeOrg, makeSigningRegistry, member, START_MS } from '../support/snapshots.js';

/** Resolves once the directory is as it should be. */
function becomes(directory: Directory, condition: () => boolean): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => {
      if (!condition()) return;
      stop();
      resolve();
    };
    const stop = directory.onChange(look);
    look();
  });
}

async function watch(t: TestScope, folder: string, directory?: Directory) {
  const events: FedgateError[] = [];
  const heard: (() => void)[] = [];
  const loaded =
    directory ?? (await Directory.load(snapshotFile(orgFolder(folder).state), await snapshotRules(folder)));
  const watcher = new RegistryWatcher({
    client: await memberClient(t, folder),
    directory: loaded,
    random: () => 0,
    onSecurityEvent: event => {
      events.push(event);
      for (const tell of heard.splice(0)) tell();
    },
  });
  t.teardown(async () => {
    await watcher.close();
    await loaded.flush();
  });
  const nextEvent = (): Promise<void> => new Promise(resolve => heard.push(resolve));
  return { watcher, directory: loaded, events, nextEvent };
}

test('watcher: joining, suspension, resumption and removal reach it', async t => {
  const registry = await startTestRegistry(t);
  const { watcher, directory, events } = await watch(t, await joinOrg(t, registry, 'ACME'));
  await watcher.ready();
  await joinOrg(t, registry, 'GLOBEX');
  await becomes(directory, () => directory.trust('GLOBEX')?.active === true);
  await registry.admin.setState('GLOBEX', 'suspended');
  await becomes(directory, () => directory.member('GLOBEX')?.state === 'suspended');
  t.false(directory.trust('GLOBEX')?.active);
  await registry.admin.setState('GLOBEX', 'active');
  await becomes(directory, () => directory.member('GLOBEX')?.state === 'active');
  await registry.admin.setState('GLOBEX', 'removed');
  await becomes(directory, () => directory.member('GLOBEX')?.state === 'removed');
  t.true(watcher.status().connected);
  t.deepEqual(events, []);
});

test('watcher: comes back by itself after the registry was away', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const { watcher, directory, events } = await watch(t, folder);
  await watcher.ready();
  const before = directory.version;
  await registry.stop();
  t.true(directory.isFresh());
  await registry.start();
  await becomes(directory, () => directory.version > before);
  t.deepEqual(events, []);
});

test('watcher: a registry restored from an old copy is refused, the newer snapshot stays, and somebody hears of it', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  await registry.stop();
  const { state } = registryFolder(registry.folder);
  const copy = join(await temporaryFolder(t), 'copy');
  await cp(state, copy, { recursive: true });
  await registry.start();
  const { watcher, directory, events, nextEvent } = await watch(t, folder);
  await joinOrg(t, registry, 'GLOBEX');
  await registry.admin.setState('GLOBEX', 'suspended');
  await becomes(directory, () => directory.member('GLOBEX')?.state === 'suspended');
  const { version } = directory;

  await registry.stop();
  await cp(copy, state, { recursive: true, force: true });
  const alarm = nextEvent();
  await registry.start();
  await alarm;
  t.is(events[0]?.reason, 'SNAPSHOT_STALE');
  t.is(watcher.status().lastError?.reason, 'SNAPSHOT_STALE');
  t.is(directory.version, version);
  t.is(directory.member('GLOBEX')?.state, 'suspended');
});

test('watcher: what is not good is refused, what is good afterwards is taken', async t => {
  const registry = makeSigningRegistry();
  const acme = await makeOrg('ACME');
  const members = [member(acme, acme.record())];
  const options = { federation: FEDERATION, snapshotKey: registry.snapshotKey, now: () => START_MS };
  const directory = await Directory.load(join(await temporaryFolder(t), 's.bin'), options);
  const answers: SignedSnapshot[] = [
    registry.sign(5n, members, { expireTimeMs: START_MS }),
    makeSigningRegistry().sign(5n, members),
    registry.sign(5n, members, { federation: 'other.example' }),
    registry.sign(5n, members),
    registry.sign(4n, members),
    registry.sign(5n, []),
    registry.sign(6n, members),
  ];
  const client = {
    getSnapshot: async () => answers.shift() ?? registry.sign(7n, members),
    async *watchSnapshot() {
      yield* answers.splice(0);
    },
  };
  const events: string[] = [];
  const watcher = new RegistryWatcher({ client, directory, onSecurityEvent: ({ reason }) => events.push(reason) });
  await becomes(directory, () => directory.version === 6n);
  await watcher.ready();
  t.deepEqual(events, [
    'SNAPSHOT_EXPIRED',
    'SNAPSHOT_INVALID',
    'FEDERATION_MISMATCH',
    'SNAPSHOT_STALE',
    'SNAPSHOT_FORKED',
  ]);
  await watcher.close();
  await directory.flush();
});

test('watcher: ready at once with a fresh snapshot from disk, though the registry is away', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  await registry.stop();
  const { watcher, directory } = await watch(t, folder);
  await watcher.ready();
  t.like(directory.activeMember('ACME'), { state: 'active' });
  t.false(watcher.status().connected);
});

test('watcher: closed before it was ready, it says so', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  await registry.stop();
  const empty = await Directory.load(join(await temporaryFolder(t), 's.bin'), await snapshotRules(folder));
  const { watcher } = await watch(t, folder, empty);
  const ready = watcher.ready();
  await watcher.close();
  await refused(t, 'CANCELLED', () => ready);
});

test('watcher: waits grow to half a minute and are spread', t => {
  const longest = new Backoff({ ...REGISTRY_BACKOFF, random: () => 1 });
  const waits = Array.from({ length: 1000 }, () => longest.next());
  t.deepEqual([...waits.slice(0, 4), waits.at(-1)], [200, 400, 800, 1600, 30_000]);
  const shortest = new Backoff({ ...REGISTRY_BACKOFF, random: () => 0 });
  t.is(shortest.next(), 100);
});

test('watch: ends for a member that is suspended', async t => {
  const registry = await startTestRegistry(t);
  const client = await memberClient(t, await joinOrg(t, registry, 'ACME'));
  const snapshots = client.watchSnapshot(0n);
  t.false((await snapshots.next()).done);
  const end = snapshots.next();
  await registry.admin.setState('ACME', 'suspended');
  await refused(t, 'ORG_INACTIVE', () => end);
});

test('watch: only so many at a time for one member, and they are given back', async t => {
  const registry = await startTestRegistry(t);
  const client = await memberClient(t, await joinOrg(t, registry, 'ACME'));
  const open = Array.from({ length: MAX_WATCHES_PER_ORG }, () => client.watchSnapshot(0n));
  await Promise.all(open.map(snapshots => snapshots.next()));
  const error = await refused(t, 'LIMIT_REACHED', () => client.watchSnapshot(0n).next());
  t.is(error.metadata.limit, 'watches');
  await Promise.all(open.map(snapshots => snapshots.return(undefined)));
  // The server hears of the end a moment later.
  for (;;) {
    const again = client.watchSnapshot(0n);
    const answer = await again.next().catch(() => undefined);
    await again.return(undefined);
    if (answer) break;
  }
});

test('snapshots: are renewed long before they end, with a higher version', async t => {
  const registry = await startTestRegistry(t, { snapshotLifetimeMs: 400 });
  const client = await memberClient(t, await joinOrg(t, registry, 'ACME'));
  const before = (await registry.admin.list()).snapshotVersion;
  for await (const snapshot of client.watchSnapshot(before)) {
    t.true(snapshot.snapshot.length > 0);
    break;
  }
  t.true((await registry.admin.list()).snapshotVersion > before);
});
