import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parse } from 'yaml';
import { packageRoot } from '../../src/package-root.js';
import { startTestOrg } from '../support/federation.js';
import { joinOrg, startTestRegistry } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { codeBlock } from './code-blocks.js';
import { pageUrl } from './generate.js';

test('addressing.md: groups in signed records, as the page shows them', async t => {
  t.timeout(120_000);
  const registry = await startTestRegistry(t);
  const globex = await joinOrg(t, registry, 'GLOBEX');
  await joinOrg(t, registry, 'INITECH');
  const ACME = await startTestOrg(t, registry, 'ACME', {
    access: 'nodes: [{ node: "*", publish: ["pubsub://*/**"] }]',
  });
  const root = fileURLToPath(packageRoot);
  const paste = async (block: string, variables: Readonly<Record<string, string>> = {}): Promise<string> => {
    const shell = Shell.paste(block, { ...variables, PATH: `${root}/node_modules/.bin:${process.env.PATH}` });
    t.teardown(() => shell.kill());
    return shell.finished(60_000);
  };
  const commands = (await codeBlock('addressing.md', 'Groups in signed records'))
    .replaceAll('--dir acme', `--dir ${ACME.folder}`)
    .replaceAll('--dir globex', `--dir ${globex}`);
  const printed = await paste(`fedgate() { node '${root}/bin/fedgate.js' "$@"; }\n${commands}`);
  const page = await readFile(pageUrl('docs/addressing.md'), 'utf8');
  const [, shown = 'nothing'] = /```text\n(GROUP [\s\S]*?)```/.exec(page) ?? [];
  t.true(printed.includes(shown), printed);
  const { snapshotVersion } = await registry.admin.list();
  await ACME.logged(
    ({ msg, snapshot }) => msg === 'registry snapshot taken' && BigInt(String(snapshot)) >= snapshotVersion,
  );
  const contextFile = await ACME.context('typist');
  const { gateway, serverName } = parse(await readFile(contextFile, 'utf8')) as { gateway: string; serverName: string };
  const variables = { DIR: dirname(contextFile), GATEWAY: gateway, SERVER_NAME: serverName };
  const answer = await paste(await codeBlock('addressing.md', 'buf curl: publish to a group'), variables);
  t.regex(answer, /GROUP_CONSENT_MISSING|does not consent/);
});
