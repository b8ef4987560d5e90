import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { claimPort } from '../../src/demo/free-port.js';
import { packageRoot } from '../../src/package-root.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';
import { Shell } from '../support/shell.js';
import { pageUrl } from './generate.js';

/** The blocks of the quick start, in order. */
async function quickStart(): Promise<string[]> {
  const text = await readFile(pageUrl('README.md'), 'utf8');
  return [...text.matchAll(/^<!-- run -->\n```bash\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

/** The first of six ports in a row that were free a moment ago; below the range that systems hand out by themselves. */
async function freePorts(): Promise<number> {
  for (let first = 10_000 + Math.floor(Math.random() * 10_000); ; first += 6) {
    const free = await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async i => (await claimPort(first + i)) && isFree(first + i)),
    );
    if (free.every(Boolean)) return first;
  }
}

/** The processes that name a folder among their arguments, as `pid arguments`. */
const processesOf = (folder: string): string[] =>
  execFileSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter(line => line.includes(folder));

/** Whatever became of the shell, nothing that it started stays. */
function endAll(t: TestScope, folder: string): void {
  t.teardown(() => {
    for (const line of processesOf(folder)) {
      try {
        process.kill(Number.parseInt(line, 10), 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
  });
}

test('readme: the quick start works as printed, and its last block leaves nothing behind', async t => {
  t.timeout(600_000);
  const blocks = await quickStart();
  t.true(blocks.length >= 7);
  const folder = await temporaryFolder(t);
  endAll(t, folder);
  // TMPDIR: where the quick start makes its folder. set -m: jobs are process groups, as in the shell of a person.
  const variables = { TMPDIR: folder, PORT: String(await freePorts()) };
  const script = `set -m\n${blocks.join('\n')}`;
  const shell = new Shell('bash', ['-euo', 'pipefail', '-c', script], variables, fileURLToPath(packageRoot));
  t.teardown(() => shell.kill());
  const output = await shell.finished(570_000);
  t.regex(output, /^ACME is a member of fed\.example$/m);
  t.regex(output, /^GLOBEX has it on stable storage$/m);
  for (const order of ['order 1', 'order 2']) {
    t.regex(output, new RegExp(`^\\d\\d:\\d\\d:\\d\\d\\.\\d{3} {2}ACME/billing {2}orders/created {2}${order}$`, 'm'));
  }
  t.regex(output, /^[0-9a-f]{64} {2}\S+\/README\.md$/m);
  t.regex(output, /^GLOBEX +up /m);
  t.regex(output, /^the way to GLOBEX is open$/m);
  for (const giveUp = Date.now() + 30_000; processesOf(folder).length > 0 && Date.now() < giveUp; ) await sleep(100);
  t.deepEqual(processesOf(folder), []);
});

test('readme: it is short, opens with what it is, and names the two commands to begin with', async t => {
  const text = await readFile(pageUrl('README.md'), 'utf8');
  t.true(text.split('\n').length < 125);
  t.regex(text, /^# fedgate\n\nfedgate is a federation gateway/);
  t.true(text.includes('npm ci && npm run demo'));
  t.true(text.includes('npm ci && npm test'));
});

test('pages: every link to a file of this repository leads to one', async t => {
  const folder = await readdir(pageUrl('docs/'), { recursive: true });
  const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...folder.map(name => `docs/${name}`)];
  const broken: string[] = [];
  for (const page of pages.filter(name => name.endsWith('.md'))) {
    const text = await readFile(pageUrl(page), 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (!/^[a-z]+:/.test(link) && !existsSync(new URL(link, pageUrl(page)))) broken.push(`${page}: ${link}`);
    }
  }
  t.deepEqual(broken, []);
});
