import test from 'ava';
import { checkPaths, foldersOf, nameProblem, pathProblem } from '../../src/cli/file-names.js';
import { refused } from '../support/reasons.js';

const BAD_NAMES = [
  '',
  '.',
  '..',
  'a/b',
  '/etc/passwd',
  'a\\b',
  'C:x',
  'a:b',
  'nul\0byte',
  'line\nbreak',
  'bell\u0007',
  'gpj.\u202eexe',
  'isolate\u2066x',
  'zero\u200bwidth',
  'line\u2028separator',
  'half\ud800',
  'bytes\ufffd',
  'dot.',
  'space ',
  'con',
  'CON.txt',
  'con .txt',
  'aux.tar.gz',
  'Nul',
  'com1.log',
  'LPT9',
  'COM¹',
  'conout$',
  'x'.repeat(256),
  'ü'.repeat(128),
];

test('file names: those that are no plain name of a file on any system have a reason', t => {
  for (const name of BAD_NAMES) t.is(typeof nameProblem(name), 'string', JSON.stringify(name));
});

test('file names: plain ones are taken', t => {
  for (const name of [
    'report.pdf',
    '.bashrc',
    'a b.txt',
    '..a',
    'a..b',
    'ü'.repeat(127),
    'concert',
    'com10',
    'naïve',
    '文書.txt',
  ])
    t.is(nameProblem(name), undefined, name);
});

test('paths: each part is a plain name, and there is an end to them', t => {
  for (const name of BAD_NAMES.filter(each => each !== 'a/b')) {
    t.is(typeof pathProblem(`a/${name}`), 'string', JSON.stringify(name));
    t.is(typeof pathProblem(`${name}/a`), 'string', JSON.stringify(name));
  }
  t.is(pathProblem('a/b/c.txt'), undefined);
  t.is(typeof pathProblem(Array(65).fill('a').join('/')), 'string');
  t.is(typeof pathProblem(Array(60).fill('a'.repeat(100)).join('/')), 'string');
  t.deepEqual(foldersOf('a/b/c.txt'), ['a', 'a/b']);
  t.deepEqual(foldersOf('c.txt'), []);
});

test('paths: twins by case or by how accents are written, and files that are folders, are refused', async t => {
  const bad = [
    ['a.txt', 'A.TXT'],
    ['\u00e9.txt', 'e\u0301.txt'],
    ['straße', 'STRASSE'],
    ['a', 'a'],
    ['a', 'a/b'],
    ['a/b', 'a'],
    ['A/x', 'a/y'],
    ['a/b/c', 'A'],
  ];
  for (const paths of bad) await refused(t, 'FIELD_INVALID', () => checkPaths(paths));
  t.notThrows(() => checkPaths(['a/b', 'a/c', 'b', 'c/a/b', 'c/a/c']));
});
