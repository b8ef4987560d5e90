import test from 'ava';
import fc from 'fast-check';
import { decodeBase64 } from '../../../src/approvals/statement/base64.js';
import { isJsonArray, isJsonObject, type Json, parseStrictJson } from '../../../src/approvals/statement/json.js';

/** As the language has it, to compare with its own reader. */
function plain(value: Json): unknown {
  if (isJsonArray(value)) return value.map(plain);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
}

test('strict JSON: what it reads is what the language reads', t => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), fc.constantFrom(undefined, 1, '\t'), (text, space) => {
      const value = JSON.parse(text);
      // Two keys of one object that are the same text are written once only.
      const again = JSON.stringify(value, null, space);
      if (/\\ud[89a-f]/i.test(again)) return;
      t.deepEqual(plain(parseStrictJson(again)), JSON.parse(again));
    }),
    { numRuns: 500 },
  );
  t.is(parseStrictJson(' "\\"\\\\" '), '"\\');
  t.deepEqual(plain(parseStrictJson('[-0.5e-3,1E2,"\\\\",{"":[]}, {}]')), [-0.0005, 100, '\\', { '': [] }, {}]);
});

test('strict JSON: it reads nothing that the language does not read', t => {
  const junk = fc.array(
    fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'u0041',
      '1',
      '-',
      '.',
      'e',
      'true',
      'null',
      ' ',
      'a',
      '\n',
      "'",
    ),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(junk, parts => {
      const text = parts.join('');
      let read: Json;
      try {
        read = parseStrictJson(text);
      } catch (error) {
        t.true(error instanceof SyntaxError, String(error));
        return;
      }
      t.deepEqual(plain(read), JSON.parse(text));
    }),
    { numRuns: 20_000 },
  );
});

test('attack 17: duplicate keys, __proto__, deep nesting, marks, bytes that are no text', t => {
  const refused = (input: string | Uint8Array, what: RegExp) =>
    t.throws(() => parseStrictJson(input), { instanceOf: SyntaxError, message: what });
  refused('{"a":1,"a":1}', /the key "a" stands there twice/);
  refused('{"a":1,"\\u0061":2}', /twice/);
  refused(`${'['.repeat(33)}1${']'.repeat(33)}`, /more than 32 levels/);
  refused('['.repeat(1_000_000), /more than 32 levels/);
  refused('"\\ud800"', /Unicode/);
  refused('"\ud800"', /Unicode/);
  refused('\ufeff{}', /a value was expected/);
  refused(Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), /a value was expected/);
  refused(Buffer.from([0x22, 0xff, 0x22]), /UTF-8/);
  refused('"a\nb"', /string/);
  refused('"a', /without an end/);
  refused('1e999', /a value was expected/);
  for (const text of [
    '',
    ' ',
    '{',
    '[1,]',
    '{"a":1,}',
    '01',
    '+1',
    '1.',
    '.5',
    'NaN',
    'Infinity',
    'tru',
    "'a'",
    '{a:1}',
    '1 2',
    '"\\x41"',
  ])
    refused(text, /not the JSON/);

  const value = parseStrictJson('{"__proto__":{"admin":true},"constructor":1}');
  t.true(isJsonObject(value) && value.size === 2);
  t.is(({} as Record<string, unknown>).admin, undefined);
});

test('attack 18: base64 of both alphabets is read, with padding or without, and nothing sloppy', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), data => {
      const bytes = Buffer.from(data);
      const standard = bytes.toString('base64');
      const url = bytes.toString('base64url');
      for (const text of [
        standard,
        url,
        standard.replace(/=+$/, ''),
        standard.replaceAll('+', '-').replaceAll('/', '_'),
      ]) {
        t.deepEqual(decodeBase64(text), bytes, text);
      }
    }),
  );
  const sloppy = [
    'QQ=',
    'QQ===',
    'Q',
    'QUI',
    'QUJD=',
    'QUJD====',
    'QQ==QQ==',
    'Q Q==',
    'QQ==\n',
    '\nQQ==',
    'QR==',
    'QUJ=',
    '=',
    '====',
    '+_==',
    '-/8=',
    'QQ\u00e9=',
    'QUJD!',
    '%51',
    'QQ\0\0',
  ];
  const accepted = sloppy.filter(text => decodeBase64(text) !== undefined);
  // Without padding, and all of its bits say something.
  t.deepEqual(accepted, ['QUI']);
  t.deepEqual(decodeBase64(''), Buffer.alloc(0));
});
