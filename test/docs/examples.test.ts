import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { connect } from '../../src/client/index.js';
import { packageRoot } from '../../src/package-root.js';
import { addApprovers } from '../support/approval-federation.js';
import { testKey } from '../support/approvals.js';
import { startFederation, type TestOrg } from '../support/federation.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';
import { pageUrl } from './generate.js';

const run = promisify(execFile);

/** A program of a page, and what the page says it prints. */
interface Example {
  readonly title: string;
  readonly source: string;
  readonly prints: string | undefined;
}

async function examplesOf(page: string): Promise<Example[]> {
  const text = await readFile(pageUrl(page), 'utf8');
  const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$(?:\n+```text\n([\s\S]*?)^```$)?/gm)];
  return blocks.map(([, source = '', prints], i) => ({ title: `${page}, program ${i + 1}`, source, prints }));
}

/** Writes programs into a folder of the package, so that `fedgate/client` is the package itself, and compiles them as users do. */
async function compile(t: TestScope, examples: readonly Example[]): Promise<string[]> {
  const parent = new URL('build/', packageRoot);
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(fileURLToPath(new URL('examples-', parent)));
  t.teardown(() => rm(folder, { recursive: true }));
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    strict: true,
    skipLibCheck: true,
    noUnusedLocals: true,
    rootDir: '.',
  };
  await writeFile(
    `${folder}/tsconfig.json`,
    JSON.stringify({ compilerOptions, files: examples.map((_, i) => `example${i}.ts`) }),
  );
  for (const [i, { source }] of examples.entries()) await writeFile(`${folder}/example${i}.ts`, source);
  const compiler = fileURLToPath(new URL('node_modules/.bin/tsc', packageRoot));
  await run(compiler, ['-p', folder]).catch(({ stdout }) => {
    throw new Error(`the examples do not compile:\n${stdout}`);
  });
  return examples.map((_, i) => `${folder}/example${i}.js`);
}

/** An approver of each; the key of the first's is a file. Resolves when the first knows both. */
async function registerAlice(orgs: readonly TestOrg[], folder: string): Promise<void> {
  for (const org of orgs) {
    const key = testKey(org.name);
    await addApprovers(org.folder, { alice: key });
    const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' });
    if (org === orgs[0]) await writeFile(`${folder}/alice.key`, pem, { mode: 0o600 });
  }
  const [first] = orgs;
  if (!first) throw new Error('there is no organisation');
  await using client = await connect({ context: await first.context('looker') });
  while ((await client.approvals.approvers()).length < orgs.length)
    await new Promise(resolve => setTimeout(resolve, 50));
}

test('examples: every program of sdk.md, files.md, requests.md, topics.md, streams.md and README.md compiles, runs, and prints what stands below it', async t => {
  t.timeout(120_000);
  const pages = await Promise.all(
    ['sdk', 'files', 'requests', 'topics', 'streams']
      .map(page => `docs/${page}.md`)
      .concat('README.md')
      .map(examplesOf),
  );
  const examples = pages.flat();
  t.true(examples.length >= 7);
  const programs = await compile(t, examples);
  const { ACME, GLOBEX } = await startFederation(t, {
    ACME: {
      access:
        'nodes: [{ node: "*", publish: ["**", "pubsub://*/**"], subscribe: ["**"], request: ["**"], respond: ["**"], openStreams: ["**"], acceptStreams: ["**"], share: ["*"], fetch: ["*"], nodes: ["*"], approvals: [propose, vote], status: true }]\ntopics: [{ topic: "prices/**", publish: ["*"], subscribe: ["*"] }]',
    },
    GLOBEX: {
      access:
        'nodes: [{ node: "*", subscribe: ["**"] }]\npeers: [{ org: ACME, publish: ["orders/*", "readings"], propose: true }]',
    },
  });
  const context = await ACME.context('billing');
  const subscription = (await GLOBEX.node('erp')).subscribe('**');
  await subscription.opened;
  void (async () => {
    for await (const _ of subscription.batches());
  })();
  // Where programs write their files.
  const cwd = await temporaryFolder(t);
  await registerAlice([ACME, GLOBEX], cwd);
  for (const [i, { title, prints }] of examples.entries()) {
    const env = { ...process.env, FEDGATE_CONTEXT: context };
    const { stdout, stderr } = await run(process.execPath, [programs[i] ?? ''], { env, cwd, timeout: 30_000 });
    if (prints !== undefined) t.is(stdout, prints, title);
    t.is(stderr, '', title);
  }
});
