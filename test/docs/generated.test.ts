import { readFile } from 'node:fs/promises';
import test from 'ava';
import { EXIT, EXIT_HELP } from '../../src/cli/exit-codes.js';
import { REASONS } from '../../src/errors.js';
import { generatedPages, pageUrl } from './generate.js';

test('generated pages: each is what `npm run docs` makes now', async t => {
  const pages = await generatedPages();
  t.deepEqual(
    pages.map(({ path }) => path),
    ['docs/cli.md', 'docs/errors.md', 'docs/configuration.md'],
  );
  for (const { path, content } of pages) {
    const written = await readFile(pageUrl(path), 'utf8').catch(() => '');
    t.is(written, content, `${path} is not current: npm run docs`);
  }
});

test('cli.md: names every exit code that a command can end with', async t => {
  const page = await readFile(pageUrl('docs/cli.md'), 'utf8');
  const explained = new Set(EXIT_HELP.map(([code]) => code));
  for (const [name, code] of Object.entries(EXIT)) {
    t.true(explained.has(code), `${name} has no help`);
    t.regex(page, new RegExp(`^\\| \`${code}\` \\| \\S`, 'm'), name);
  }
  t.is(explained.size, Object.keys(EXIT).length);
});

test('errors.md: names every reason, and every reason says what to make of it', async t => {
  const page = await readFile(pageUrl('docs/errors.md'), 'utf8');
  for (const [reason, { status, help }] of Object.entries(REASONS)) {
    t.true(page.includes(`| \`${reason}\` | ${status} |`), reason);
    t.true(help.length > 15, reason);
  }
});

test('pages: every reason that a page names is one', async t => {
  const known = new Set<string>(Object.keys(REASONS));
  const statuses = new Set(Object.values(REASONS).map(({ status }) => status as string));
  for (const name of ['guarantees', 'security', 'protocol', 'operations', 'limits', 'sdk', 'architecture']) {
    const page = await readFile(pageUrl(`docs/${name}.md`), 'utf8');
    for (const [word] of page.matchAll(/\b[A-Z]{3,}_[A-Z_]+\b/g)) {
      const isOther = statuses.has(word) || /^(FEDGATE|LANE|NOT_SERVING|XDG)/.test(word) || isConstant(page, word);
      t.true(known.has(word) || isOther, `docs/${name}.md: ${word}`);
    }
  }
});

/** Names of constants stand in code spans, reasons do not. */
const isConstant = (page: string, word: string): boolean => new RegExp(`\`${word}[.\`]`).test(page);
