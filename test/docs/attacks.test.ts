import { existsSync, readFileSync } from 'node:fs';
import test from 'ava';
import { pageUrl } from './generate.js';

interface Row {
  readonly number: number;
  readonly cells: readonly string[];
  /** Those that are named: of a file, and a title in it. */
  readonly tests: readonly (readonly [file: string, title: string])[];
}

/** The table of attacks below a heading. */
function attacks(heading = '### Attacks on approvals'): Row[] {
  const page = readFileSync(pageUrl('docs/security.md'), 'utf8');
  const [, section = ''] = page.split(`${heading}\n`);
  const [, table = ''] = section.split('| # | attack | answer | shown by |\n|---|---|---|---|\n');
  return (table.split('\n\n')[0] ?? '').split('\n').map(line => {
    const cells = line.replace(/^\| | \|$/g, '').split(' | ');
    const named = [...(cells[3] ?? '').matchAll(/`(test\/[^`]+)` “([^”]+)”/g)];
    return { number: Number(cells[0]), cells, tests: named.map(([, file = '', title = '']) => [file, title]) };
  });
}

const FILES = '## Attacks on files';

for (const [what, count, rows] of [
  ['approvals', 26, attacks()],
  ['files', 24, attacks(FILES)],
] as const) {
  test(`security.md: every attack on ${what} has its number, an answer and a test`, t => {
    t.deepEqual(
      rows.map(({ number }) => number),
      Array.from({ length: count }, (_, i) => i + 1),
    );
    for (const { number, cells, tests } of rows) {
      t.is(cells.length, 4, `${number}`);
      for (const cell of cells.slice(1)) t.true(cell.length > 10, `${number}`);
      t.true(tests.length > 0, `${number}`);
    }
  });
}

test('security.md: every test that it names is in that file, under that title', t => {
  const missing = [...attacks(), ...attacks(FILES)]
    .flatMap(({ tests }) => tests)
    .filter(([file, title]) => !existsSync(pageUrl(file)) || !readFileSync(pageUrl(file), 'utf8').includes(title));
  t.deepEqual(missing, []);
});

test('security.md: a test that is called after an attack is one of an attack that is listed', t => {
  const numbers = new Set(attacks().map(({ number }) => number));
  for (const [file] of attacks().flatMap(({ tests }) => tests)) {
    for (const [, number] of readFileSync(pageUrl(file), 'utf8').matchAll(/['"]attack (\d+):/g))
      t.true(numbers.has(Number(number)), `${file} attack ${number}`);
  }
});
