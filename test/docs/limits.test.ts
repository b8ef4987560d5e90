import { readFileSync } from 'node:fs';
import test from 'ava';
import { pageUrl } from './generate.js';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** The number a cell states, in bytes or milliseconds. */
function stated(cell: string): number {
  const [, number, unit = ''] = /^(\d+) ?(\w*)$/.exec(cell) ?? [];
  return Number(number) * (UNITS[unit] ?? Number.NaN);
}

/** The value of a constant of a file, worked out from its source: exported or not, with the constants of the file that it is made of. */
function constantOf(source: string, name: string): unknown {
  const text = new RegExp(`^(?:export )?const ${name}\\b[^=]*= ([^;]+);`, 'm').exec(source)?.[1];
  if (text === undefined) throw new Error(`no constant ${name}`);
  const expression = text
    .replace(/ as const.*$/s, '')
    .replace(/\b[A-Z][A-Z_]+\b/g, other => String(constantOf(source, other)))
    .replace(/Math\.random/, '0');
  if (!/^[\w\s{}:,.()*+/-]+$/.test(expression)) throw new Error(`${name} = ${expression} is not understood`);
  return new Function(`return (${expression});`)();
}

const tableRows = (page: string): string[] => page.split('\n').filter(line => /^\| (?!what \|)/.test(line));

test('limits.md: every number is the one in the code', t => {
  const page = readFileSync(pageUrl('docs/limits.md'), 'utf8');
  const rows = [...page.matchAll(/^\| (.+?) \| (.+?) \| (?:(.*?) )?\| `(.+)` `(.+)` \|$/gm)];
  t.is(rows.length, tableRows(page).length);
  for (const [, what, limit = '', , file = '', constant = ''] of rows) {
    const [name = '', property] = constant.split('.');
    const value = constantOf(readFileSync(pageUrl(file), 'utf8'), name);
    const found = property === undefined ? value : (value as Record<string, unknown>)[property];
    t.is(found, stated(limit), `${what}: ${file} ${constant}`);
  }
});

test('limits.md: every row of its tables names the constant it comes from', t => {
  const page = readFileSync(pageUrl('docs/limits.md'), 'utf8');
  t.deepEqual(
    tableRows(page).filter(row => !/\| `src\/[^`]+` `[A-Za-z_.]+` \|$/.test(row)),
    [],
  );
});
