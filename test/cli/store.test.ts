import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { EXIT } from '../../src/cli/exit-codes.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { fedgate } from '../support/cli.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

/** Two organisations; one batch went from ACME to GLOBEX, and is stored at both. */
async function startPair(t: TestScope): Promise<{ ACME: TestOrg; GLOBEX: TestOrg }> {
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: {},
    GLOBEX: {
      access: 'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"] }]\npeers: [{ org: ACME, publish: ["x"] }]',
    },
  });
  const client = await ACME.node('writer');
  await client.publish('pubsub://GLOBEX/x', 'hello'.repeat(500), { ack: 'received' });
  return { ACME, GLOBEX };
}

/** Changes the last byte of every body of a store. */
async function damage(folder: string): Promise<void> {
  const bodies = join(orgFolder(folder).store, 'bodies');
  for (const entry of await readdir(bodies, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    const last = bytes.findLastIndex(byte => byte !== 0);
    bytes[last] = (bytes[last] ?? 0) ^ 1;
    await writeFile(path, bytes);
  }
}

test('store verify and stats --dir: of a running gateway, and of one with a flipped bit', async t => {
  const { ACME, GLOBEX } = await startPair(t);
  for (const { folder } of [ACME, GLOBEX]) {
    const { code, stdout, stderr } = await fedgate(['store', 'verify', '--dir', folder]);
    t.is(code, EXIT.ok, stderr);
    t.regex(stdout, /state\/store: all is well: \d+ rows, 1 batch of records \([\d.]+ \w+\)$/m);
  }
  const stats = JSON.parse((await fedgate(['store', 'stats', '--dir', GLOBEX.folder, '--json'])).stdout);
  t.true(stats.rows > 0 && stats.diskBytes > 0 && stats.freeBytes > 0);
  t.regex((await fedgate(['store', 'stats', '--dir', GLOBEX.folder])).stdout, /^restored +never$/m);
  await GLOBEX.stop();
  await damage(GLOBEX.folder);
  const bad = await fedgate(['store', 'verify', '--dir', GLOBEX.folder]);
  t.is(bad.code, EXIT.checkFailed);
  t.regex(bad.stdout, /^log [0-9a-f]+: its body .* is not what was written$/m);
  t.regex(bad.stdout, /state\/store: 1 bad, 0 missing: /);
  t.is((await fedgate(['store', 'verify', '--dir', GLOBEX.folder, '--quick'])).code, EXIT.ok);
  const json = JSON.parse((await fedgate(['store', 'verify', '--dir', GLOBEX.folder, '--json'])).stdout);
  t.like(json, { bad: 1, missing: 0, findings: [{ table: 'log' }] });
});

test('store backup and restore: while the gateway runs, and not while it does', async t => {
  const { GLOBEX } = await startPair(t);
  const to = join(await temporaryFolder(t), 'backup');
  const made = await fedgate(['store', 'backup', '--dir', GLOBEX.folder, '--to', to]);
  t.is(made.code, EXIT.ok, made.stderr);
  t.true(existsSync(to));
  t.is((await fedgate(['store', 'backup', '--dir', GLOBEX.folder, '--to', to])).code, EXIT.usage);
  const restore = (...flags: string[]) => fedgate(['store', 'restore', '--dir', GLOBEX.folder, '--from', to, ...flags]);
  const running = await restore('--force');
  t.is(running.code, EXIT.usage);
  t.regex(running.stderr, /state\/store: .*in use by process \d+; stop the gateway first \[STORE_LOCKED\]/);
  await GLOBEX.stop();
  const unforced = await restore();
  t.is(unforced.code, EXIT.usage);
  t.regex(unforced.stderr, /\[FILE_UNUSABLE\]/);
  const none = await fedgate(['store', 'restore', '--dir', GLOBEX.folder, '--from', GLOBEX.folder, '--force']);
  t.regex(none.stderr, /globex: not a backup that can be used: .*\[STORE_DAMAGED\]/);
  const before = JSON.parse((await fedgate(['store', 'stats', '--dir', GLOBEX.folder, '--json'])).stdout);
  const restored = JSON.parse((await restore('--force', '--json')).stdout);
  t.not(restored.storeId, before.storeId);
  const after = JSON.parse((await fedgate(['store', 'stats', '--dir', GLOBEX.folder, '--json'])).stdout);
  t.like(after, { storeId: restored.storeId, restoreTime: restored.restoreTime });
  t.is((await fedgate(['store', 'verify', '--dir', GLOBEX.folder])).code, EXIT.ok);
});

test('store backup: Ctrl-C leaves nothing behind', async t => {
  const { GLOBEX } = await startPair(t);
  const folder = await temporaryFolder(t);
  const to = join(folder, 'backup');
  const { code, stderr } = await fedgate(['store', 'backup', '--dir', GLOBEX.folder, '--to', to], {
    signal: AbortSignal.abort(),
  });
  t.is(code, EXIT.interrupted, stderr);
  t.deepEqual(await readdir(folder), []);
});

test('store: a folder that is no organisation, or has no store yet, is named', async t => {
  const folder = await temporaryFolder(t);
  for (const command of [['verify'], ['stats'], ['backup', '--to', join(folder, 'b')], ['restore', '--from', folder]]) {
    const { code, stderr } = await fedgate(['store', ...command, '--dir', folder]);
    t.is(code, EXIT.usage, command[0]);
    t.regex(stderr, /fedgate\.json: membership \(is this a folder made by `fedgate org join`\?\) not readable/);
  }
  const { ACME } = await startFederation(t, { ACME: {} });
  await ACME.stop();
  const other = join(folder, 'acme');
  await mkdir(other);
  for (const file of ['fedgate.json', 'registry.crt'])
    await writeFile(join(other, file), await readFile(join(ACME.folder, file)));
  const { stderr } = await fedgate(['store', 'verify', '--dir', other]);
  t.regex(stderr, /state\/store: there is no store; the gateway makes it when it is first started/);
});
