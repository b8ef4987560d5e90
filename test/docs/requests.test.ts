import { readFile, writeFile } from 'node:fs/promises';
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
  readonly erp: FedgateClient;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: 'nodes: [{ node: "*", request: ["pubsub://*/**"] }]' },
    GLOBEX: { access: 'nodes: [{ node: "*", respond: ["**"] }]\npeers: [{ org: ACME, request: ["**"] }]' },
  });
  const folder = await temporaryFolder(scope);
  const billing = await contextIn(await ACME.context('billing'));
  const contexts = { 'acme-billing': billing, 'globex-erp': await contextIn(await GLOBEX.context('erp')) };
  await writeFile(`${folder}/contexts.yaml`, stringify({ contexts }));
  const { gateway = '', serverName = '', key = '' } = billing;
  const acme = { DIR: dirname(key), GATEWAY: gateway, SERVER_NAME: serverName };
  const erp = await GLOBEX.node('any-language');
  Object.assign(t.context, { variables: { FEDGATE_CONFIG_DIR: folder }, acme, erp, undo });
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

const root = fileURLToPath(packageRoot);

/** Runs a block of the page in an empty folder, as a person pastes it. */
async function paste(t: ExecutionContext, heading: string, variables: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder(t);
  const block = await codeBlock('requests.md', heading);
  const command = `cd '${folder}'\nfedgate() { node '${root}/bin/fedgate.js' "$@"; }\n${block}`;
  const shell = Shell.paste(command, { ...variables, PATH: `${root}/node_modules/.bin:${process.env.PATH}` });
  t.teardown(() => shell.kill());
  return shell.finished(120_000);
}

test.serial('requests.md: a command answers what is asked on the command line', async t => {
  t.timeout(180_000);
  const output = await paste(t, 'From the command line', t.context.variables);
  t.regex(output, /^READY\?$/m);
  t.regex(output, /"org":"GLOBEX","node":"erp","attempts":1,"duplicate":false.*"payload":"TWELVE TONS"/);
});

test.serial('requests.md: a survey', async t => {
  t.timeout(180_000);
  t.regex(await paste(t, 'Surveys', t.context.variables), /^GLOBEX\/erp: east has 7/m);
});

test.serial('requests.md: buf curl asks', async t => {
  t.timeout(180_000);
  const responding = t.context.erp.respond('quotes/*', request => request.payload);
  await responding.opened;
  const reply = JSON.parse(await paste(t, 'buf curl: request', t.context.acme));
  t.like(reply, { org: 'GLOBEX', node: 'any-language', attempts: 1, record: { payload: 'aGVsbG8=' } });
});

test.serial('requests.md: stored requests on the command line', async t => {
  t.timeout(180_000);
  const output = await paste(t, 'Stored requests', t.context.variables);
  t.regex(output, /pubsub:\/\/GLOBEX\/orders\/steel +waiting/);
  t.regex(output, /^TWELVE TONS$/m);
});

test.serial('requests.md: buf curl asks everybody, tells, and stores', async t => {
  t.timeout(180_000);
  const responding = t.context.erp.respond('quotes/*', request => request.payload);
  await responding.opened;
  const survey = await paste(t, 'buf curl: a survey', t.context.acme);
  t.regex(survey, /"payload": *"aGVsbG8="/);
  t.regex(survey, /"summary": *\{[\s\S]*"org": *"GLOBEX",\s*"asked": *\d/);
  const stored = await paste(t, 'buf curl: one-way, and stored', t.context.acme);
  t.regex(stored, /"requestId": *"[0-9a-f]{32}"/);
  t.regex(stored, /STATE_ANSWERED[\s\S]*"payload": *"aGVsbG8="/);
  await responding.drain();
});
