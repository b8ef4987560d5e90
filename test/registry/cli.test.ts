import { existsSync } from 'node:fs';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import test from 'ava';
import { run } from '../../src/cli/program.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { registryFolder } from '../../src/registry/server/folder.js';
import { startRegistry } from '../../src/registry/server/server.js';
import { refused } from '../support/reasons.js';
import { silentLog, startTestRegistry, temporaryFolder } from '../support/registry.js';

/** Runs one command line in this process. */
async function fedgate(argv: readonly string[], stdin = ''): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const into = (name: 'out' | 'err'): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        written[name] += chunk;
        done();
      },
    });
  const code = await run(argv, {
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout: into('out'),
    stderr: into('err'),
    terminal: false,
    variables: {},
    signal: new AbortController().signal,
    exitCode: 0,
  });
  return { code, ...written };
}

test('cli: init makes a registry once, with keys that only its owner reads', async t => {
  const dir = join(await temporaryFolder(t), 'r');
  const init = [
    'registry',
    'init',
    '--dir',
    dir,
    '--domain',
    'fed.example',
    '--advertise',
    'registry.fed.example:7400',
  ];
  t.is((await fedgate(init)).code, 0);
  const paths = registryFolder(dir);
  for (const key of [paths.snapshotKey, join(paths.tls, 'tls.key'), join(paths.operator, 'tls.key')]) {
    t.is((await stat(key)).mode & 0o777, 0o600);
  }
  const tls = await readFile(join(paths.tls, 'tls.crt'), 'utf8');
  const again = await fedgate(init);
  t.is(again.code, 2);
  t.regex(again.err, /a registry is made once \[FILE_UNUSABLE\]/);
  t.is(await readFile(join(paths.tls, 'tls.crt'), 'utf8'), tls);
});

test('cli: init refuses a bad domain or address before it makes anything', async t => {
  const dir = join(await temporaryFolder(t), 'r');
  t.is((await fedgate(['registry', 'init', '--dir', dir, '--domain', 'Not A Domain'])).code, 2);
  t.is((await fedgate(['registry', 'init', '--dir', dir, '--domain', 'fed.example', '--listen', 'nowhere'])).code, 2);
  t.false(existsSync(dir));
});

test('cli: invite prints the code and nothing else; join takes it from standard input; list, record and states tell', async t => {
  const registry = await startTestRegistry(t);
  const dir = registry.folder;
  const invited = await fedgate(['registry', 'invite', 'ACME', '--dir', dir, '--lifetime', '7d']);
  t.regex(invited.out, /^fedgate1-[A-Za-z0-9_-]+\n$/);
  const listed = JSON.parse((await fedgate(['registry', 'list', '--dir', dir, '--json'])).out);
  t.is(listed.invitations[0].org, 'ACME');

  const acme = await temporaryFolder(t);
  const joined = await fedgate(
    ['org', 'join', '-', '--dir', acme, '--address', 'gw.acme.example:7499', '--json'],
    `\n${invited.out}\n`,
  );
  t.is(joined.code, 0, joined.err);
  t.like(JSON.parse(joined.out), { org: 'ACME', federation: 'fed.example', gateway: 'gw1' });
  t.regex(await readFile(orgFolder(acme).gatewayConfig, 'utf8'), /peers: 0\.0\.0\.0:7499/);

  const signed = await fedgate(['org', 'record', '--dir', acme, '--gateway', 'gw1=a.example:1,[::1]:2', '--json']);
  t.like(JSON.parse(signed.out), { sequence: 2, gateways: [{ name: 'gw1', addresses: ['a.example:1', '[::1]:2'] }] });
  t.regex((await fedgate(['org', 'record', '--dir', acme])).out, /gateway gw1 +a\.example:1, \[::1\]:2/);

  t.regex(
    (await fedgate(['registry', 'suspend', 'ACME', '--dir', dir])).out,
    /^ACME is suspended as of snapshot \d+\n$/,
  );
  t.regex((await fedgate(['registry', 'list', '--dir', dir])).out, /^ACME +suspended +2 /m);
  t.is((await fedgate(['org', 'record', '--dir', acme])).code, 4);
  t.is((await fedgate(['registry', 'resume', 'ACME', '--dir', dir])).code, 0);
  t.is((await fedgate(['registry', 'remove', 'ACME', '--dir', dir, '--json'])).code, 0);
  t.is((await fedgate(['registry', 'resume', 'ACME', '--dir', dir])).code, 2);
});

test('cli: wrong input ends with a code that says what kind of wrong', async t => {
  const { folder: dir } = await startTestRegistry(t);
  const elsewhere = await temporaryFolder(t);
  const table: readonly (readonly [number, RegExp, readonly string[]])[] = [
    [2, /FIELD_INVALID/, ['registry', 'invite', 'acme', '--dir', dir]],
    [2, /FIELD_INVALID/, ['registry', 'invite', 'ACME', '--dir', dir, '--lifetime', 'soon']],
    [2, /FIELD_INVALID/, ['registry', 'invite', 'ACME', '--dir', dir, '--lifetime', '31d']],
    [2, /FIELD_INVALID/, ['registry', 'invite', 'ACME', '--dir', dir, '--lifetime', '0s']],
    [5, /ORG_UNKNOWN/, ['registry', 'suspend', 'NOBODY', '--dir', dir]],
    [2, /FILE_UNUSABLE/, ['registry', 'list', '--dir', elsewhere]],
    [2, /INVITATION_MALFORMED/, ['org', 'join', 'fedgate1-abc', '--dir', elsewhere]],
    [2, /FIELD_INVALID/, ['org', 'join', 'fedgate1-abc', '--dir', elsewhere, '--address', 'nowhere']],
    [2, /FILE_UNUSABLE/, ['org', 'record', '--dir', elsewhere]],
    [2, /FIELD_INVALID/, ['org', 'record', '--dir', elsewhere, '--gateway', 'gw1']],
  ];
  for (const [code, message, argv] of table) {
    const result = await fedgate(argv);
    t.is(result.code, code, argv.join(' '));
    t.regex(result.err, message);
    t.is(result.out, '');
  }
});

test('cli: every registry and org command has help with examples', async t => {
  const commands = [
    ...['init', 'serve', 'invite', 'list', 'suspend', 'resume', 'remove'].map(name => ['registry', name]),
    ...['join', 'record'].map(name => ['org', name]),
  ];
  for (const command of commands) {
    const { code, out } = await fedgate([...command, '--help']);
    t.is(code, 0);
    t.regex(out, new RegExp(`Examples:\\n  (.*\\n  )*.*fedgate ${command.join(' ')}`));
  }
});

test('serve: a bad configuration is refused with file and line, an exposed key by name', async t => {
  const dir = join(await temporaryFolder(t), 'r');
  await fedgate([
    'registry',
    'init',
    '--dir',
    dir,
    '--domain',
    'fed.example',
    '--listen',
    '127.0.0.1:0',
    '--admin-listen',
    '127.0.0.1:0',
  ]);
  const paths = registryFolder(dir);
  const good = await readFile(paths.config, 'utf8');
  const start = () => startRegistry({ folder: dir, log: silentLog });
  const table: readonly (readonly [string, RegExp])[] = [
    [`${good}lisen: 127.0.0.1:1\n`, /registry\.yaml:5: lisen/],
    [good.replace('127.0.0.1:0', 'nowhere'), /registry\.yaml:2: listen/],
    [good.replace('federation', 'fedration'), /registry\.yaml:1: /],
    ['a: [', /registry\.yaml:1: /],
    ['', /registry\.yaml:1: /],
  ];
  for (const [text, message] of table) {
    await writeFile(paths.config, text);
    t.regex((await refused(t, 'CONFIG_INVALID', start)).message, message);
  }
  await writeFile(paths.config, good);
  await chmod(paths.snapshotKey, 0o644);
  await refused(t, 'KEY_EXPOSED', start);
});

test('serve: an address that is taken is refused, and everything is given back', async t => {
  const registry = await startTestRegistry(t);
  const dir = join(await temporaryFolder(t), 'r');
  await fedgate([
    'registry',
    'init',
    '--dir',
    dir,
    '--domain',
    'fed.example',
    '--listen',
    '127.0.0.1:0',
    '--admin-listen',
    '127.0.0.1:0',
  ]);
  await refused(t, 'ADDRESS_UNUSABLE', () =>
    startRegistry({ folder: dir, log: silentLog, adminListen: registry.address }),
  );
  const running = await startRegistry({ folder: dir, log: silentLog });
  await running.stop();
  await running.stop();
});

test('serve: of two registries with one folder, the older can change nothing any more', async t => {
  const registry = await startTestRegistry(t);
  const { admin } = registry;
  const second = await startRegistry({ folder: registry.folder, log: silentLog });
  t.teardown(() => second.stop());
  await refused(t, 'INTERNAL', () => admin.createInvitation('ACME', 0));
});
