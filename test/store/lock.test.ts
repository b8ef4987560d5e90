import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { openStore } from '../../src/store/open.js';
import { refused } from '../support/reasons.js';
import type { TestScope } from '../support/registry.js';
import { opened, storeFolder } from './support.js';

const SCRIPT = fileURLToPath(new URL('committer.js', import.meta.url));

async function startOwner(t: TestScope, folder: string) {
  const child = spawn(process.execPath, [SCRIPT, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  child.stdout.resume();
  return child;
}

test('lock: another living process keeps the store; kill -9 frees it', async t => {
  const folder = await storeFolder(t);
  const owner = await startOwner(t, folder);
  const error = await refused(t, 'STORE_LOCKED', () => openStore(folder, { reserveBytes: 0 }));
  t.is(error.metadata.pid, String(owner.pid));
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  const store = await opened(t, folder);
  t.is(store.health.state, 'ok');
});

test('lock: a second open in the same process is refused, until the first is closed', async t => {
  const folder = await storeFolder(t);
  const first = await opened(t, folder);
  await refused(t, 'STORE_LOCKED', () => openStore(folder, { reserveBytes: 0 }));
  await first.close();
  const second = await opened(t, folder);
  await second.close();
  t.deepEqual((await readdir(folder)).sort(), ['bodies', 'rows']);
});

test('lock: a process with the number of the dead owner does not keep the store', async t => {
  const folder = await storeFolder(t);
  const first = await openStore(folder, { reserveBytes: 0 });
  const mine = await readlink(join(folder, 'owner'));
  await first.close();
  // This process lives, but it did not start then.
  await symlink(mine.replace(/ \d+/, ' 1'), join(folder, 'owner'));
  const second = await openStore(folder, { reserveBytes: 0 });
  await second.close();
  await symlink('nobody', join(folder, 'owner'));
  await opened(t, folder);
  t.pass();
});

test('lock: a file as earlier versions made it counts as well', async t => {
  const folder = await storeFolder(t);
  const first = await openStore(folder, { reserveBytes: 0 });
  const mine = await readlink(join(folder, 'owner'));
  await first.close();
  await writeFile(join(folder, 'owner'), `${mine.split(' ', 2).join(' ')}\n`);
  await refused(t, 'STORE_LOCKED', () => openStore(folder, { reserveBytes: 0 }));
  await writeFile(join(folder, 'owner'), '');
  await opened(t, folder);
  t.pass();
});

test('lock: of many that open at once, one gets the store', async t => {
  const folder = await storeFolder(t);
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => openStore(folder, { reserveBytes: 0 })));
  const won = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  for (const store of won) await store.close();
  t.is(won.length, 1);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') await refused(t, 'STORE_LOCKED', () => Promise.reject(outcome.reason));
  }
});
