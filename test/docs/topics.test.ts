import { readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { parse, stringify } from 'yaml';
import { packageRoot } from '../../src/package-root.js';
import { startFederation } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { codeBlock } from './code-blocks.js';

interface World {
  readonly variables: Readonly<Record<string, string>>;
  readonly acme: Readonly<Record<string, string>>;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;
const access = (peer: string): string =>
  `topics: [{ topic: "prices/**", publish: ["*"], subscribe: ["*"], authors: ["*"], peers: [${peer}] }]`;

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: access('GLOBEX') },
    GLOBEX: { access: access('ACME') },
  });
  const folder = await temporaryFolder(scope);
  const billing = await contextIn(await ACME.context('billing'));
  const contexts = { 'acme-billing': billing, 'globex-erp': await contextIn(await GLOBEX.context('erp')) };
  await writeFile(`${folder}/contexts.yaml`, stringify({ contexts }));
  const { gateway = '', serverName = '', key = '' } = billing;
  const acme = { DIR: dirname(key), GATEWAY: gateway, SERVER_NAME: serverName };
  Object.assign(t.context, { variables: { FEDGATE_CONFIG_DIR: folder }, acme, undo });
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
  const block = await codeBlock('topics.md', heading);
  const command = `cd '${folder}'\nfedgate() { node '${root}/bin/fedgate.js' "$@"; }\n${block}`;
  const shell = Shell.paste(command, { ...variables, PATH: `${root}/node_modules/.bin:${process.env.PATH}` });
  t.teardown(() => shell.kill());
  return shell.finished(120_000);
}

test.serial('topics.md: a record of one organisation is read in another, and the topic is shown', async t => {
  t.timeout(180_000);
  const output = await paste(t, 'From the command line', t.context.variables);
  t.regex(output, /^published: ACME\/gw1 record 1; /m);
  t.regex(output, /ACME\/billing {2}prices\/steel 1 {2}12\.50$/m);
  t.regex(output, /^prices\/steel +1 +1 +[\d,]+ +0 +ACME$/m);
  t.regex(output, /^ACME\/gw1 +\d+ +1 to 1 +1 +ACME /m);
});

test.serial('topics.md: buf curl publishes', async t => {
  t.timeout(180_000);
  const answer = JSON.parse(await paste(t, 'buf curl: publish', t.context.acme));
  t.like(answer, { place: { org: 'ACME', gateway: 'gw1' }, records: 1 });
});
