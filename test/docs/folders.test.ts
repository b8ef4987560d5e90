import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import test from 'ava';
import { pageUrl } from './generate.js';

/** One import statement: which file of src/ imports what. Folder `.` stands for the files directly in src/. */
interface Import {
  readonly file: string;
  readonly folder: string;
  readonly to: string;
}

const SOURCES = pageUrl('src/');
const folderOf = (path: string): string => (path.includes('/') ? (path.split('/')[0] ?? '') : '.');

function readImports(): { inner: Import[]; outer: Import[] } {
  const inner: Import[] = [];
  const outer: Import[] = [];
  for (const file of readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))) {
    const text = readFileSync(new URL(file, SOURCES), 'utf8');
    for (const [, to = ''] of text.matchAll(/^(?:import|export|\})[^'\n]*'([^']+)';$|import\('([^']+)'\)/gm)) {
      if (!to.startsWith('.')) outer.push({ file, folder: folderOf(file), to });
      else {
        const path = posix.join(posix.dirname(file), to);
        if (!path.startsWith('..')) inner.push({ file, folder: folderOf(file), to: path });
      }
    }
  }
  return { inner, outer };
}

/** The rows of a table of docs/architecture.md that is headed so: the names in the first and in the second column. */
function rows(heading: string): (readonly [readonly string[], readonly string[]])[] {
  const page = readFileSync(pageUrl('docs/architecture.md'), 'utf8');
  const [, body = ''] = page.split(`${heading}\n|---|---|\n`);
  const names = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
  return (body.split('\n\n')[0] ?? '')
    .split('\n')
    .filter(line => line.startsWith('|'))
    .map(line => [names(line.split('|')[1]), names(line.split('|')[2])]);
}

/** A way through the graph that comes back to where it began; undefined when there is none. */
function findCircle(graph: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const walk = (node: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const circle = walk(next, [...path, node]);
      if (circle) return circle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const circle = walk(node, []);
    if (circle) return circle;
  }
  return undefined;
}

const { inner, outer } = readImports();
const across = inner.filter(({ folder, to }) => folder !== folderOf(to) && folderOf(to) !== '.');

test('folders: no circle of imports between them', t => {
  t.true(across.length > 100);
  const graph = new Map<string, Set<string>>();
  for (const { folder, to } of across) {
    if (folder === '.') continue;
    const targets = graph.get(folder) ?? new Set();
    graph.set(folder, targets.add(folderOf(to)));
  }
  const circle = findCircle(graph);
  const steps = (circle ?? []).slice(1).map((to, i) => {
    const cause = across.find(each => each.folder === circle?.[i] && folderOf(each.to) === to);
    return `${circle?.[i]} -> ${to}: ${cause?.file} imports ${cause?.to}`;
  });
  t.deepEqual(steps, []);
});

test('folders: a circle would be found', t => {
  const graph = new Map([
    ['a', new Set(['b'])],
    ['b', new Set(['c'])],
    ['c', new Set(['b'])],
  ]);
  t.deepEqual(findCircle(graph), ['b', 'c', 'b']);
});

test('folders: each imports only from those that architecture.md lists', t => {
  const allowed = new Map(rows('| folder | may import from |').map(([[folder = ''], from]) => [folder, new Set(from)]));
  const folders = readdirSync(SOURCES, { withFileTypes: true }).filter(entry => entry.isDirectory());
  t.deepEqual([...allowed.keys()].sort(), folders.map(({ name }) => name).sort());
  const wrong = across
    .filter(({ folder, to }) => folder !== '.' && !allowed.get(folder)?.has(folderOf(to)))
    .map(({ file, to }) => `${file} imports ${to}`);
  t.deepEqual(wrong, []);
});

test('folders: what architecture.md lists is in use', t => {
  const used = new Set(across.map(({ folder, to }) => `${folder} -> ${folderOf(to)}`));
  const listed = rows('| folder | may import from |').flatMap(([[folder], from]) =>
    from.map(to => `${folder} -> ${to}`),
  );
  t.deepEqual(
    listed.filter(edge => !used.has(edge)),
    [],
  );
});

test('folders: files directly in src/ import from no folder, but for the binary', t => {
  const wrong = across
    .filter(({ folder, file }) => folder === '.' && file !== 'main.ts')
    .map(({ file, to }) => `${file} imports ${to}`);
  t.deepEqual(wrong, []);
});

test('folders: packages are imported only where architecture.md says', t => {
  const places = rows('| package | only in |').flatMap(([packages, folders]) =>
    packages.map(name => [name, folders] as const),
  );
  t.true(places.length >= 5);
  const wrong = places.flatMap(([name, folders]) =>
    outer
      .filter(({ to, folder }) => (to === name || to.startsWith(`${name}/`)) && !folders.includes(folder))
      .map(({ file, to }) => `${file} imports ${to}`),
  );
  t.deepEqual(wrong, []);
});
