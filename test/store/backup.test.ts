import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { backupStore } from '../../src/store/backup.js';
import { openStore } from '../../src/store/open.js';
import { restoreStore } from '../../src/store/restore.js';
import { Change } from '../../src/store/store.js';
import { verifyStore } from '../../src/store/verify.js';
import { refused } from '../support/reasons.js';
import { complaint, readRow, readState } from './committed.js';
import { bodyOf, opened, sha256, storeBody, storeFolder } from './support.js';

const SCRIPT = fileURLToPath(new URL('committer.js', import.meta.url));
const verifiers = new Map([['rows', readRow]]);

test('backup: of a store that another process writes to and trims is whole, and restores as another store', async t => {
  const folder = await storeFolder(t);
  const child = spawn(process.execPath, [SCRIPT, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let written = -1;
  const lines = createInterface(child.stdout);
  const many = new Promise<void>(resolve => {
    lines.on('line', line => {
      if (!line.startsWith('ready')) written = Number(line);
      if (written >= 100) resolve();
    });
  });
  await many;
  for (let round = 0; round < 3; round++) {
    const target = join(dirname(folder), `backup-${round}`);
    const before = written;
    const seen: number[] = [];
    const report = await backupStore(folder, target, ({ copiedBytes }) => seen.push(copiedBytes));
    t.true(report.segments > 0 && report.bytes > 0 && seen.length > 0);
    t.like(await verifyStore(target, { bodies: true, verifiers }), { missing: 0, bad: 0, bodies: 40 });

    const restored = join(dirname(folder), `restored-${round}`);
    const identity = await restoreStore(target, restored, { nowMs: 1_700_000_000_000 });
    const store = await opened(t, restored);
    t.is(await complaint(store), undefined);
    t.true((await readState(store)).count > before, 'what was acknowledged before the backup is in it');
    t.deepEqual(store.id, identity.id);
    t.is(store.restoredMs, 1_700_000_000_000);
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
  const origin = await opened(t, folder);
  t.is(await complaint(origin), undefined);
});

test('restore: refuses a store in use, one that is there unless forced, and what is no backup', async t => {
  const folder = await storeFolder(t);
  const backup = join(dirname(folder), 'backup');
  const store = await openStore(folder, { reserveBytes: 0 });
  const body = bodyOf(1, 1000);
  const ref = await storeBody(store, 'inbox', body);
  await backupStore(folder, backup);
  await store.commit(new Change().put('rows', Buffer.from('later'), Buffer.alloc(1)));
  await refused(t, 'STORE_LOCKED', () => restoreStore(backup, folder, { force: true }));
  await store.close();
  await refused(t, 'FILE_UNUSABLE', () => restoreStore(backup, folder));
  await refused(t, 'STORE_DAMAGED', () => restoreStore(dirname(folder), folder, { force: true }));

  const kept = await openStore(folder, { reserveBytes: 0 });
  t.truthy(await kept.get('rows', Buffer.from('later')), 'what was there is untouched');
  await kept.close();
  await restoreStore(backup, folder, { force: true });
  const restored = await opened(t, folder);
  t.is(await restored.get('rows', Buffer.from('later')), undefined);
  t.notDeepEqual(restored.id, store.id);
  t.true((await restored.read(ref, sha256(body))).equals(body));
  t.deepEqual((await readdir(dirname(folder))).sort(), ['backup', 'store']);
});

test('backup: refuses a target that holds something, and a folder without a store', async t => {
  const folder = await storeFolder(t);
  const target = join(dirname(folder), 'target');
  await refused(t, 'STORE_DAMAGED', () => backupStore(folder, target));
  await opened(t, folder);
  await mkdir(target);
  await writeFile(join(target, 'precious'), 'keep me');
  await refused(t, 'FILE_UNUSABLE', () => backupStore(folder, target));
  t.deepEqual(await readdir(target), ['precious']);
});
