import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { parse, stringify } from 'yaml';
import type { FedgateClient } from '../../src/client/index.js';
import { packageRoot } from '../../src/package-root.js';
import { startFederation } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { codeBlock } from './code-blocks.js';

interface World {
  readonly variables: Readonly<Record<string, string>>;
  readonly acme: Readonly<Record<string, string>>;
  /** The node that `acme` is. */
  readonly billing: FedgateClient;
  readonly erp: FedgateClient;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;
const root = fileURLToPath(packageRoot);

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: 'nodes: [{ node: "*", openStreams: ["pubsub://GLOBEX/**"] }]' },
    GLOBEX: { access: 'nodes: [{ node: "*", acceptStreams: ["**"] }]\npeers: [{ org: ACME, streams: ["**"] }]' },
  });
  const folder = await temporaryFolder(scope);
  const billing = await contextIn(await ACME.context('billing'));
  const contexts = { 'acme-billing': billing, 'globex-erp': await contextIn(await GLOBEX.context('erp')) };
  await writeFile(`${folder}/contexts.yaml`, stringify({ contexts }));
  // A program and not a function of the shell, so that a signal gets to what runs in the background.
  await mkdir(`${folder}/bin`);
  await writeFile(`${folder}/bin/fedgate`, `#!/bin/sh\nexec node '${root}/bin/fedgate.js' "$@"\n`);
  await chmod(`${folder}/bin/fedgate`, 0o755);
  const PATH = `${folder}/bin:${root}/node_modules/.bin:${process.env.PATH}`;
  const { gateway = '', serverName = '', key = '' } = billing;
  Object.assign(t.context, {
    variables: { FEDGATE_CONFIG_DIR: folder, PATH },
    acme: { DIR: dirname(key), GATEWAY: gateway, SERVER_NAME: serverName, PATH },
    billing: await ACME.node('billing'),
    erp: await GLOBEX.node('erp'),
    undo,
  });
});

test.after.always(async t => {
  for (const each of t.context.undo.reverse()) await each();
});

/** A context whose files are found from anywhere. */
async function contextIn(path: string): Promise<Record<string, string>> {
  const context = parse(await readFile(path, 'utf8')) as Record<string, string>;
  for (const file of ['key', 'certificate', 'ca']) context[file] = resolve(dirname(path), context[file] ?? '');
  return context;
}

/** What stands in for curl on a machine without it. */
const CURL = `command -v curl > /dev/null || curl() { node -e 'fetch(process.argv.at(-1)).then(r => r.text()).then(console.log, () => process.exit(7))' -- "$@"; }`;

/** Runs a block of the page in an empty folder, as a person pastes it. */
async function paste(t: ExecutionContext, heading: string, variables: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder(t);
  const block = await codeBlock('streams.md', heading);
  const shell = Shell.paste(`cd '${folder}'\n${CURL}\n${block}`, variables);
  t.teardown(() => shell.kill());
  return shell.finished(120_000);
}

async function listen(t: ExecutionContext, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return String((server.address() as AddressInfo).port);
}

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise(closed => server.close(closed));
  return String(port);
}

test.serial('streams.md: a web server of one organisation is reached in the other', async t => {
  t.timeout(180_000);
  const WEB = await listen(
    t,
    createHttpServer((_, response) => void response.end('twelve tons\n')),
  );
  const output = await paste(t, 'TCP through it', { ...t.context.variables, WEB, PORT: await freePort() });
  t.is(output, 'twelve tons\n');
});

test.serial('streams.md: what goes into a pipe here comes out of one there', async t => {
  t.timeout(180_000);
  t.is(await paste(t, 'Pipes', t.context.variables), 'report.txt\n');
});

test.serial('streams.md: buf curl lists a stream', async t => {
  t.timeout(180_000);
  const accepting = t.context.erp.acceptStreams('echo/*', stream => void stream.pipe(stream));
  await accepting.opened;
  const stream = await t.context.billing.openStream('pubsub://GLOBEX/echo/loud');
  const { streams } = JSON.parse(await paste(t, 'buf curl: list streams', t.context.acme));
  t.is(streams.length, 1);
  t.like(streams[0], { channel: 'echo/loud', openerNode: 'billing', acceptorOrg: 'GLOBEX', acceptorNode: 'erp' });
  stream.destroy();
  accepting.close();
});
