import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import { pageUrl } from './generate.js';

/** The rows of the tables of promises: what is promised, its limits, and the tests that are named. */
function promises(): {
  readonly promise: string;
  readonly limits: string;
  readonly tests: [file: string, title: string][];
}[] {
  const page = readFileSync(pageUrl('docs/guarantees.md'), 'utf8');
  const [, ...tables] = page.split('| promise | limits | proven by |\n|---|---|---|\n');
  const lines = tables.flatMap(table => (table.split('\n\n')[0] ?? '').split('\n'));
  return lines.map(line => {
    const [, promise = '', limits = '', proof = ''] = line.split(' | ').length === 3 ? ['', ...line.split(' | ')] : [];
    const tests = [...proof.matchAll(/`(test\/[^`]+)` “([^”]+)”/g)].map(([, file = '', title = '']) => [file, title]);
    return { promise, limits, tests: tests as [string, string][] };
  });
}

test('guarantees.md: every promise of its tables names its limits and a test', t => {
  const rows = promises();
  t.true(rows.length >= 35);
  for (const { promise, limits, tests } of rows) {
    t.true(promise.length > 10 && limits.length > 5, promise);
    t.true(tests.length > 0, promise);
  }
});

test('guarantees.md: every test that it names is in that file, under that title', t => {
  const missing = promises()
    .flatMap(({ tests }) => tests)
    .filter(([file, title]) => !existsSync(pageUrl(file)) || !readFileSync(pageUrl(file), 'utf8').includes(title));
  t.deepEqual(missing, []);
});
