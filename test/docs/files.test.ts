import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { parse, stringify } from 'yaml';
import { Deferred } from '../../src/client/deferred.js';
import { connect } from '../../src/client/index.js';
import { packageRoot } from '../../src/package-root.js';
import { startFederation } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { codeBlock } from './code-blocks.js';

interface World {
  readonly variables: Readonly<Record<string, string>>;
  /** For tools that know nothing of contexts. */
  readonly acme: Readonly<Record<string, string>>;
  readonly globex: Readonly<Record<string, string>>;
  readonly undo: (() => unknown)[];
}

const test = anyTest as TestFn<World>;

const ACCESS = 'nodes: [{ node: "*", share: ["*"], fetch: ["*"] }]';

test.before(async t => {
  const undo: (() => unknown)[] = [];
  const scope: TestScope = { teardown: each => void undo.push(each) };
  const extra = 'links: { dial: all }';
  const { ACME, GLOBEX } = await startFederation(scope, {
    ACME: { access: ACCESS, extra },
    GLOBEX: { access: ACCESS, extra },
  });
  const folder = await temporaryFolder(scope);
  const [acme, globex] = [await ACME.context('billing'), await GLOBEX.context('erp')];
  const contexts = { 'acme-billing': await contextIn(acme), 'globex-erp': await contextIn(globex) };
  await writeFile(`${folder}/contexts.yaml`, stringify({ contexts }));
  const variables = { FEDGATE_CONFIG_DIR: folder, FEDGATE_STATE_DIR: `${folder}/notes` };
  Object.assign(t.context, { variables, acme: await nodeOf(acme), globex: await nodeOf(globex), undo });
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

async function nodeOf(path: string): Promise<Record<string, string>> {
  const { gateway = '', serverName = '' } = await contextIn(path);
  return { DIR: dirname(path), GATEWAY: gateway, SERVER_NAME: serverName };
}

const root = fileURLToPath(packageRoot);

/** Runs a block of the page in an empty folder, as a person pastes it. */
async function paste(
  t: ExecutionContext,
  heading: string,
  variables: Readonly<Record<string, string>>,
): Promise<string> {
  const folder = await temporaryFolder(t);
  const block = await codeBlock('files.md', heading);
  const command = `cd '${folder}'\nfedgate() { node '${root}/bin/fedgate.js' "$@"; }\n${block}`;
  const shell = Shell.paste(command, { ...variables, PATH: `${root}/node_modules/.bin:${process.env.PATH}` });
  t.teardown(() => shell.kill());
  return shell.finished(120_000);
}

test.serial('files.md: what it shares on the command line is fetched, and the share is over at the end', async t => {
  t.timeout(180_000);
  const output = await paste(t, 'From the command line', t.context.variables);
  t.regex(output, /^fetched\.txt: OK$/m);
  t.regex(output, /report\.txt +12 B +billing +GLOBEX +1, at most 3/);
  t.regex(output, /^may fetch +GLOBEX,INITECH$/m);
  t.regex(output, /^share:\/\/ACME\/[0-9a-f]{32} is over$/m);
});

test.serial('files.md: pipes and ranges', async t => {
  t.timeout(180_000);
  t.is(await paste(t, 'Pipes and ranges', t.context.variables), '100000\n1\n2\n');
});

test.serial('files.md: a folder comes out as it went in', async t => {
  t.timeout(180_000);
  t.regex(await paste(t, 'Folders', t.context.variables), /copy\/css\/site\.css/);
});

test.serial('files.md: buf curl shares, and fetches at the other organisation', async t => {
  t.timeout(180_000);
  const { share } = JSON.parse(await paste(t, 'buf curl: share', t.context.acme));
  t.like(share, { name: 'hello.txt', size: '5' });
  const fetched = await paste(t, 'buf curl: fetch', { ...t.context.globex, SHARE: share.id });
  t.regex(fetched, /"pieceSha256"/);
  t.regex(fetched, /"data": "aGVsbG8="/);
  const changed = await paste(t, 'buf curl: change and end a share', { ...t.context.acme, SHARE: share.id });
  t.like(JSON.parse(changed.slice(0, changed.lastIndexOf('{'))), { share: { maxDownloads: 3, downloads: 1 } });
  await t.throwsAsync(paste(t, 'buf curl: fetch', { ...t.context.globex, SHARE: share.id }), {
    message: /is over: its owner/,
  });
});

test.serial('files.md: buf curl tells how far an upload is', async t => {
  t.timeout(180_000);
  const client = await connect({ context: `${t.context.acme.DIR}/context.yaml` });
  t.teardown(() => client.close());
  const uploadId = randomBytes(16);
  const { acme } = t.context;
  const ask = () => paste(t, 'buf curl: how far an upload is', { ...acme, UPLOAD: uploadId.toString('base64') });
  await t.throwsAsync(ask, { message: /nothing of that upload is there/ });
  const silent = new Deferred<void>();
  async function* source(): AsyncGenerator<Buffer> {
    yield randomBytes(9 * 1024 * 1024);
    await silent.promise;
  }
  const ended = new AbortController();
  const sharing = client.share(source(), { uploadId, signal: ended.signal });
  const told = async (): Promise<object> => JSON.parse(await ask().catch(() => '{}'));
  let answer: { committedSize?: string; pieceSize?: number } = {};
  while (answer.committedSize !== String(8 * 1024 * 1024)) answer = await told();
  t.is(answer.pieceSize, 4 * 1024 * 1024);
  ended.abort();
  silent.resolve();
  await t.throwsAsync(sharing);
});
