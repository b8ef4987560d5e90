import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { Command } from 'commander';
import { EXIT } from '../../src/cli/exit-codes.js';
import { createProgram } from '../../src/cli/program.js';
import { freePort } from '../../src/demo/free-port.js';
import { fedgate, startFedgate } from '../support/cli.js';
import { startFederation } from '../support/federation.js';
import { joinOrg, startTestRegistry, type TestScope, temporaryFolder } from '../support/registry.js';

const GLOBEX = {
  access: 'nodes: [{ node: "*", publish: ["**"], subscribe: ["**"] }]\npeers: [{ org: ACME, publish: ["orders/*"] }]',
};

test('help: every command has a description and examples, every option a text', async t => {
  const env = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    terminal: false,
    variables: {},
    signal: new AbortController().signal,
    exitCode: 0,
  };
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
  const commands = leaves(await createProgram(env));
  t.true(commands.length >= 15);
  for (const command of commands) {
    const path: string[] = [];
    for (let at: Command | null = command; at?.parent; at = at.parent) path.unshift(at.name());
    const { code, stdout } = await fedgate([...path, '--help']);
    t.is(code, 0, path.join(' '));
    t.true(command.description().length > 10, path.join(' '));
    t.regex(stdout, /Examples:\n {2}/, path.join(' '));
    for (const option of command.options) t.true(option.description.length > 3, `${path.join(' ')} ${option.flags}`);
  }
});

test('arguments: an unknown command or option exits with 2 and says what was meant', async t => {
  const typo = await fedgate(['pubb']);
  t.is(typo.code, EXIT.usage);
  t.regex(typo.stderr, /Did you mean pub\?/);
  const option = await fedgate(['pub', 'a', 'b', '--filee', 'x']);
  t.is(option.code, EXIT.usage);
});

test('pub --live: tells where the record went, and exits by what became of it', async t => {
  const { ACME, GLOBEX: globex } = await startFederation(t, { ACME: {}, GLOBEX });
  const context = await ACME.context('billing');
  const subscription = (await globex.node('erp')).subscribe('orders/*');
  await subscription.opened;
  const pub = (...args: string[]) => fedgate(['pub', '--live', ...args, '--context', context]);
  const delivered = await pub('pubsub://GLOBEX/orders/created', 'hello');
  t.deepEqual([delivered.code, delivered.stdout], [EXIT.ok, 'delivered to 1 subscription in GLOBEX\n']);
  const json = await pub('pubsub://GLOBEX/orders/created', 'hello', '--json');
  t.deepEqual(JSON.parse(json.stdout), { records: 1, side: 'remote', org: 'GLOBEX', subscribers: 1, dropped: 0 });
  const nobody = await pub('own/channel', 'hello');
  t.is(nobody.code, EXIT.nothingThere);
  t.regex(nobody.stdout, /nobody is subscribed/);
  const refused = await pub('pubsub://GLOBEX/secrets', 'hello');
  t.is(refused.code, EXIT.refused);
  t.regex(refused.stderr, /GLOBEX does not let ACME publish to secrets \[NOT_GRANTED\]/);
  t.is((await pub('pubsub://NOBODY/x', 'hello')).code, EXIT.nothingThere);
  t.is((await pub('pubsub://GLOBEX/../x', 'hello')).code, EXIT.usage);
  await globex.stop();
  const away = await pub('pubsub://GLOBEX/orders/created', 'hello');
  t.is(away.code, EXIT.unreachable);
  t.regex(away.stderr, /GLOBEX cannot be reached.*\[PEER_UNREACHABLE\]/);
  await ACME.stop();
  const gone = await pub('x', 'hello', '--connect-timeout', '100ms');
  t.is(gone.code, EXIT.unreachable);
  t.regex(gone.stderr, /\[GATEWAY_UNREACHABLE\]/);
});

test('pub and sub: a file, headers, JSON and what would draw on the terminal', async t => {
  const { ACME } = await startFederation(t, { ACME: {} });
  const context = await ACME.context('n');
  const file = join(await temporaryFolder(t), 'payload');
  const bytes = Buffer.from([0, 255, 10, 13, 128]);
  await writeFile(file, bytes);
  const hear = async (format: string[], publish: string[]): Promise<string> => {
    const sub = startFedgate(t, ['sub', 'x', '--count', '1', ...format, '--context', context]);
    await sub.printed('subscribed to x');
    await fedgate(['pub', 'x', ...publish, '--context', context]);
    t.is(await sub.exited, 0);
    return sub.stdout;
  };
  const raw = startFedgate(t, ['sub', 'x', '--count', '1', '--raw', '--context', context]);
  const chunks: Buffer[] = [];
  raw.child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
  await raw.printed('subscribed to x');
  await fedgate(['pub', 'x', '--file', file, '--context', context]);
  await raw.exited;
  t.deepEqual(Buffer.concat(chunks), bytes);
  t.is(await hear(['--raw'], ['line']), 'line\n');
  const json = JSON.parse(
    await hear(
      ['--json'],
      ['{"a":1}', '--header', 'trace=7', '--id', 'i', '--key', 'k', '--content-type', 'application/json'],
    ),
  ) as Record<string, unknown>;
  t.like(json, {
    channel: 'x',
    sender: { org: 'ACME', node: 'n' },
    payload: '{"a":1}',
    headers: { trace: '7' },
    id: 'i',
    key: 'k',
    contentType: 'application/json',
  });
  t.like(JSON.parse(await hear(['--json'], ['--file', file])) as object, { payloadBase64: bytes.toString('base64') });
  t.false((await hear([], ['\u001b[2Jgone'])).includes('\u001b'));
});

test('status and doctor: show links and name the step that fails', async t => {
  const { ACME, GLOBEX: globex } = await startFederation(t, { ACME: {}, GLOBEX });
  const context = await ACME.context('operator');
  await fedgate(['pub', 'pubsub://GLOBEX/orders/x', 'hello', '--live', '--context', context]);
  const status = await fedgate(['status', '--json', '--context', context]);
  const { links } = JSON.parse(status.stdout) as { links: { org: string; state: string; recordsSent: number }[] };
  t.like(links[0], { org: 'GLOBEX', state: 'up', recordsSent: 1 });
  t.regex((await fedgate(['status', '--context', context])).stdout, /GLOBEX +up/);
  const open = await fedgate(['doctor', 'GLOBEX', '--context', context]);
  t.is(open.code, EXIT.ok);
  t.deepEqual(
    [...open.stdout.matchAll(/^ok +(\S+)/gm)].map(match => match[1]),
    ['registry', 'record', 'finding', 'TCP', 'TLS', 'identity', 'hello'],
  );
  await globex.stop();
  const closed = await fedgate(['doctor', 'GLOBEX', '--context', context]);
  t.is(closed.code, EXIT.checkFailed);
  t.regex(closed.stdout, /FAIL +TCP .*ECONNREFUSED/);
  t.regex(closed.stdout, /broken at: TCP/);
  const impostor = createServer(socket => socket.end('HTTP/1.1 404 Not Found\r\n\r\n'));
  const { port } = globex.config.listen.peers;
  await new Promise<void>(resolve => impostor.listen(port, '127.0.0.1', resolve));
  t.teardown(() => impostor.close());
  t.regex((await fedgate(['doctor', 'GLOBEX', '--context', context])).stdout, /FAIL +TLS/);
  const unknown = await fedgate(['doctor', 'NOBODY', '--context', context]);
  t.regex(unknown.stdout, /FAIL +record .*NOBODY is no member/);
  t.is(unknown.code, EXIT.checkFailed);
});

async function joinedFolder(t: TestScope): Promise<{ folder: string; config: string; nodes: number }> {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const nodes = await freePort();
  const config = join(folder, 'gateway.yaml');
  await writeFile(config, `listen:\n  nodes: 127.0.0.1:${nodes}\n  peers: 127.0.0.1:${await freePort()}\n`);
  return { folder, config, nodes };
}

test('gateway run: a busy port, a missing key and a key others can read are refused at the start', async t => {
  const { folder, config, nodes } = await joinedFolder(t);
  const start = () =>
    fedgate(['gateway', 'run', '--config', config], {
      variables: { FEDGATE_LOG_LEVEL: 'silent' },
      signal: AbortSignal.timeout(20_000),
    });
  const holder = createServer();
  await new Promise<void>(resolve => holder.listen(nodes, '127.0.0.1', resolve));
  const busy = await start();
  holder.close();
  t.is(busy.code, EXIT.usage);
  t.regex(
    busy.stderr,
    new RegExp(
      `node listener: cannot listen on 127.0.0.1:${nodes}: another process listens there \\[ADDRESS_UNUSABLE\\]`,
    ),
  );
  const key = join(folder, 'gateways', 'gw1', 'tls.key');
  t.is((await stat(key)).mode & 0o777, 0o600);
  await chmod(key, 0o644);
  const exposed = await start();
  t.is(exposed.code, EXIT.usage);
  t.regex(
    exposed.stderr,
    /tls\.key: the private key can be read by other users \(mode 0644\); run: chmod 600 .*\[KEY_EXPOSED\]/,
  );
  await rm(key);
  const missing = await start();
  t.is(missing.code, EXIT.usage);
  t.regex(missing.stderr, /tls\.key: private key not readable: there is no such file \[FILE_UNUSABLE\]/);
});

test('gateway run: a wrong configuration is refused with file, line, key and what was expected', async t => {
  const { config } = await joinedFolder(t);
  await writeFile(config, 'listen:\n  nodes: 127.0.0.1:0\n  peers: nowhere\n  lisen: 1\n');
  const { code, stderr } = await fedgate(['gateway', 'run', '--config', config]);
  t.is(code, EXIT.usage);
  t.true(stderr.includes(`${config}:3:10 listen.peers: "nowhere" is not an address`), stderr);
  t.true(stderr.includes(`${config}:4:3 listen.lisen: unknown key`), stderr);
});

test('gateway run: SIGTERM drains and exits with 0; the log is JSON and holds no key', async t => {
  const { folder, config } = await joinedFolder(t);
  const gateway = startFedgate(t, ['gateway', 'run', '--config', config]);
  await gateway.printed('gateway started');
  gateway.child.kill('SIGTERM');
  t.is(await gateway.exited, 0);
  const messages = gateway.stdout
    .trim()
    .split('\n')
    .map(line => (JSON.parse(line) as { msg: string }).msg);
  t.true(messages.includes('gateway stopped'));
  const key = await readFile(join(folder, 'gateways', 'gw1', 'tls.key'), 'utf8');
  t.false(gateway.stdout.includes(key.split('\n')[1] ?? 'x'));
});

test('node add and context: makes a context, chooses it, lists it, and keeps what is there', async t => {
  const { folder } = await joinedFolder(t);
  const variables = { FEDGATE_CONFIG_DIR: await temporaryFolder(t) };
  const first = await fedgate(['node', 'add', 'billing', '--dir', folder], { variables });
  t.is(first.code, EXIT.ok, first.stderr);
  t.is((await stat(join(folder, 'nodes', 'billing', 'tls.key'))).mode & 0o777, 0o600);
  t.is((await fedgate(['node', 'add', 'erp', '--dir', folder], { variables })).code, EXIT.ok);
  const again = await fedgate(['node', 'add', 'billing', '--dir', folder], { variables });
  t.is(again.code, EXIT.usage);
  t.regex(again.stderr, /already holds a key; --force replaces it/);
  t.is((await fedgate(['context', 'use', 'acme-billing'], { variables })).code, EXIT.ok);
  const list = JSON.parse((await fedgate(['context', 'list', '--json'], { variables })).stdout) as {
    name: string;
    current: boolean;
  }[];
  t.deepEqual(
    list.map(({ name, current }) => [name, current]),
    [
      ['acme-billing', true],
      ['acme-erp', false],
    ],
  );
  const unknown = await fedgate(['context', 'use', '__proto__'], { variables });
  t.is(unknown.code, EXIT.usage);
  t.is((await fedgate(['node', 'add', '../x', '--dir', folder], { variables })).code, EXIT.usage);
});
