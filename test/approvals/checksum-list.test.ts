import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { encodeChecksumList, MAX_PACKAGE_FILES, parseChecksumList } from '../../src/approvals/checksum-list.js';
import { FedgateError } from '../../src/errors.js';
import { sha256 } from '../support/approvals.js';
import { temporaryFolder } from '../support/registry.js';

const run = promisify(execFile);

const reasonOf = (act: () => unknown): string => {
  try {
    act();
    return 'accepted';
  } catch (error) {
    return error instanceof FedgateError ? error.reason : `threw ${String(error)}`;
  }
};

test('checksum list: sha256sum writes the same, and checks it', async t => {
  const folder = await temporaryFolder(t);
  const names = ['b', 'a b/c', 'a', 'Z', 'ä/木', '#x', '-n', '*', ' lead', 'a.txt', '\u{1f600}', '\ufb01'];
  const files = names.map(path => ({ path, text: `this is ${path}` }));
  for (const { path, text } of files) {
    await mkdir(dirname(join(folder, 'in', path)), { recursive: true });
    await writeFile(join(folder, 'in', path), text);
  }
  const list = encodeChecksumList(files.map(({ path, text }) => ({ path, sha256: sha256(text) })));
  await writeFile(join(folder, 'list'), list);
  const cwd = join(folder, 'in');
  const { stdout } = await run('sha256sum', ['-c', '--strict', '../list'], { cwd });
  t.is(stdout.split('\n').filter(line => line.endsWith(': OK')).length, names.length);
  const sorted = parseChecksumList(list).map(({ path }) => path);
  t.is((await run('sha256sum', ['--', ...sorted], { cwd })).stdout, list.toString());

  await writeFile(join(cwd, 'b'), 'another');
  const error = await t.throwsAsync(run('sha256sum', ['-c', '--strict', '../list'], { cwd }));
  t.regex((error as Error & { stdout?: string }).stdout ?? '', /^b: FAILED$/m);
});

test('checksum list: what is written is read again, in the order of the bytes', t => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
    .filter(text => !/[\\/\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(text) && !['.', '..', '-'].includes(text));
  const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(names => `f/${names.join('/')}x`);
  fc.assert(
    fc.property(fc.uniqueArray(path, { minLength: 1, maxLength: 30 }), paths => {
      fc.pre(!paths.some(one => paths.some(other => other.startsWith(`${one}/`))));
      const files = paths.map(each => ({ path: each, sha256: sha256(each) }));
      const read = parseChecksumList(encodeChecksumList(files));
      const sorted = [...files].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
      t.deepEqual(read, sorted);
    }),
    { numRuns: 300 },
  );
});

test('checksum list: what is not exactly one is refused', t => {
  const digest = sha256('x');
  const lines = (...paths: string[]): Buffer => Buffer.from(paths.map(path => `${digest}  ${path}\n`).join(''));
  t.is(parseChecksumList(lines('a', 'b/c')).length, 2);
  const lies: readonly [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['an empty line', Buffer.from('\n')],
    ['no end', lines('a').subarray(0, -1)],
    ['an empty line at the end', Buffer.concat([lines('a'), Buffer.from('\n')])],
    ['carriage returns', lines('a\r')],
    ['not sorted', lines('b', 'a')],
    ['twice', lines('a', 'a')],
    ['a file that is a folder', lines('a', 'a/b')],
    ['a file that is a folder, with one in between', lines('a', 'a.b', 'a/b')],
    ['upwards', lines('../a')],
    ['upwards later', lines('a/../b')],
    ['here', lines('./a')],
    ['absolute', lines('/a')],
    ['a folder', lines('a/')],
    ['two slashes', lines('a//b')],
    ['a backslash', lines('a\\b')],
    ['the escape of sha256sum', Buffer.from(`\\${digest}  a\\nb\n`)],
    ['a control character', lines('a\u0007')],
    ['a tab', lines('a\tb')],
    ['NUL', lines('a\0')],
    ['a mark that turns the text', lines('a\u202etxt.exe')],
    ['standard input', lines('-')],
    ['binary mode', Buffer.from(`${digest} *a\n`)],
    ['one space', Buffer.from(`${digest} a\n`)],
    ['upper case', Buffer.from(`${digest.toUpperCase()}  a\n`)],
    ['MD5', Buffer.from('d41d8cd98f00b204e9800998ecf8427e  a\n')],
    ['SHA-512', Buffer.from(`${digest}${digest}  a\n`)],
    ['the form of BSD', Buffer.from(`SHA256 (a) = ${digest}\n`)],
    ['a comment', Buffer.from(`# hello\n${digest}  a\n`)],
    ['a byte order mark', Buffer.from(`\ufeff${digest}  a\n`)],
    ['no UTF-8', Buffer.concat([Buffer.from(`${digest}  `), Buffer.from([0xff, 0x0a])])],
    ['a long path', lines('a'.repeat(4_097))],
    ['too long', Buffer.alloc(16 * 1024 * 1024 + 1, 'a')],
    ['too many', lines(...Array.from({ length: MAX_PACKAGE_FILES + 1 }, (_, i) => String(i).padStart(6, '0')))],
  ];
  for (const [what, lie] of lies)
    t.is(
      reasonOf(() => parseChecksumList(lie)),
      'FILE_UNUSABLE',
      what,
    );
  t.is(
    reasonOf(() => encodeChecksumList([])),
    'FILE_UNUSABLE',
  );
  t.is(
    reasonOf(() => encodeChecksumList([{ path: 'a', sha256: 'abc' }])),
    'FILE_UNUSABLE',
  );
  t.is(
    reasonOf(() => encodeChecksumList([{ path: '\ud800', sha256: digest }])),
    'FILE_UNUSABLE',
  );
});
