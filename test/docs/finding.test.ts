import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parseConfig } from '../../src/gateway/config.js';
import { packageRoot } from '../../src/package-root.js';
import { Shell } from '../support/shell.js';
import { startTwoOrgs } from '../support/two-orgs.js';
import { codeBlock } from './code-blocks.js';
import { pageUrl } from './generate.js';

test('finding-peers.md: its configuration is one', async t => {
  const page = await readFile(pageUrl('docs/finding-peers.md'), 'utf8');
  const block = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const { finding } = parseConfig(`listen: { nodes: 127.0.0.1:1, peers: 127.0.0.1:2 }\n${block}`, 'gateway.yaml');
  t.true(finding.dns.enabled && finding.mdns.enabled && finding.acquaintance.addresses);
  t.deepEqual(Object.keys(finding.static), ['GLOBEX']);
});

test('finding-peers.md: buf curl asks for the way to an organisation', async t => {
  t.timeout(120_000);
  const { acme } = await startTwoOrgs(t);
  const root = fileURLToPath(packageRoot);
  const block = await codeBlock('finding-peers.md', 'buf curl: doctor');
  const shell = Shell.paste(block, { ...acme, PATH: `${root}/node_modules/.bin:${process.env.PATH}` });
  t.teardown(() => shell.kill());
  const output = await shell.finished(100_000);
  t.regex(output, /STEP_FINDING[\s\S]*registry: gw1@127\.0\.0\.1/);
  t.regex(output, /STEP_HELLO/);
});
