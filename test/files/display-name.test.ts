import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { parseDisplayName, parseMediaType, shownName } from '../../src/files/display-name.js';

for (const name of [
  '../x',
  '/etc/passwd',
  'C:x',
  'con.txt',
  'a:b',
  'dot.',
  'é',
  'e\u0301',
  'A',
  'a',
  '',
  'x'.repeat(255),
]) {
  test(`name: ${JSON.stringify(name).slice(0, 30)} is kept as it was given`, t => {
    t.is(parseDisplayName(name, 'name'), name);
  });
}

for (const [what, name] of [
  ['256 bytes', 'x'.repeat(256)],
  ['256 bytes of 128 letters', 'é'.repeat(128)],
  ['half of a pair', 'a\ud800'],
  ['what was no UTF-8', 'a\ufffd'],
] as const) {
  test(`name: ${what} is refused`, t => {
    const error = t.throws<FedgateError>(() => parseDisplayName(name, 'start.name'));
    t.like(error, { reason: 'FIELD_INVALID' });
    t.is(error?.fields[0]?.field, 'start.name');
  });
}

test('name: what would change how a line looks is escaped where it is shown', t => {
  t.is(shownName('a\0b\n\t\u202egpj.exe\u2066'), 'a\\u0000b\\u000a\\u0009\\u202egpj.exe\\u2066');
});

test('media type: none is octet-stream, and only media types are taken', t => {
  t.is(parseMediaType('', 'm'), 'application/octet-stream');
  for (const good of ['text/csv', 'text/plain; charset=utf-8', 'application/vnd.x+json'])
    t.is(parseMediaType(good, 'm'), good);
  for (const bad of ['text', '/x', 'text/', 'text/csv\n', 'te xt/csv', 'é/x', `text/${'x'.repeat(300)}`]) {
    t.like(
      t.throws<FedgateError>(() => parseMediaType(bad, 'm')),
      { reason: 'FIELD_INVALID' },
      bad,
    );
  }
});
