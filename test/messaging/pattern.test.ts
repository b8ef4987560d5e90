import test from 'ava';
import fc from 'fast-check';
import { type Pattern, parsePattern } from '../../src/messaging/address.js';
import { covers, matches, meet, PatternIndex } from '../../src/messaging/pattern.js';

// Few letters, so that patterns and channels meet often.
const name = fc.constantFrom('a', 'b', 'user', 'users');
const inbox = fc.constantFrom('@a', '@b', '@user');
const channel = fc.oneof(
  { weight: 4, arbitrary: fc.array(name, { minLength: 1, maxLength: 5 }).map(segments => segments.join('/')) },
  { weight: 1, arbitrary: inbox },
);
const channelPattern: fc.Arbitrary<Pattern> = fc
  .tuple(fc.array(fc.oneof(name, fc.constant('*')), { maxLength: 4 }), fc.boolean())
  .filter(([segments, deep]) => deep || segments.length > 0)
  .map(([segments, deep]) => parsePattern([...segments, ...(deep ? ['**'] : [])].join('/')));
const pattern: fc.Arbitrary<Pattern> = fc.oneof(
  { weight: 4, arbitrary: channelPattern },
  {
    weight: 1,
    arbitrary: fc.oneof(inbox, fc.constant('@*')).map(text => parsePattern(text, 'pattern', { inboxes: true })),
  },
);

/** The rule once more, in the slowest and plainest way. */
const plainly = ({ text }: Pattern, subject: string): boolean => {
  if (subject.startsWith('@')) return text === subject || text === '@*';
  const source = text
    .split('/')
    .map(segment => (segment === '*' ? '/[^/]+' : segment === '**' ? '(/[^/]+)*' : `/${segment}`))
    .join('');
  return new RegExp(`^${source}$`).test(`/${subject}`);
};

const TABLE: readonly (readonly [string, string, boolean])[] = [
  ['user', 'user', true],
  ['user', 'users', false],
  ['user', 'user/x', false],
  ['user/*', 'user', false],
  ['user/*', 'user/x', true],
  ['user/*', 'user/x/y', false],
  ['user/**', 'user', true],
  ['user/**', 'user/x/y', true],
  ['user/**', 'users/x', false],
  ['*', 'a', true],
  ['*', 'a/b', false],
  ['**', 'a/b/c', true],
  ['*/b', 'a/b', true],
  ['*/**', 'a', true],
  ['*', '@erp', false],
  ['**', '@erp', false],
  ['*/**', '@erp', false],
  ['erp', '@erp', false],
  ['@erp', '@erp', true],
  ['@erp', '@erp2', false],
  ['@erp', 'erp', false],
];
for (const [text, subject, expected] of TABLE) {
  test(`matches: ${text} ${expected ? 'speaks' : 'does not speak'} of ${subject}`, t => {
    t.is(matches(parsePattern(text), subject), expected);
  });
}

test('matches: is what a regular expression of the same meaning says', t => {
  fc.assert(
    fc.property(pattern, channel, (p, c) => matches(p, c) === plainly(p, c)),
    { numRuns: 5_000 },
  );
  t.pass();
});

test('covers: whatever an asked pattern speaks of, the grant that covers it speaks of', t => {
  fc.assert(
    fc.property(pattern, pattern, channel, (granted, asked, c) => {
      fc.pre(covers(granted, asked) && matches(asked, c));
      return matches(granted, c);
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('covers: what covers a pattern that covers another covers that one too', t => {
  fc.assert(
    fc.property(pattern, pattern, pattern, (a, b, c) => {
      fc.pre(covers(a, b) && covers(b, c));
      return covers(a, c);
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('inbox: no pattern without an @ matches one or covers one, whatever its wildcards', t => {
  fc.assert(
    fc.property(channelPattern, inbox, (p, c) => !matches(p, c) && !covers(p, parsePattern(c))),
    { numRuns: 2_000 },
  );
  const every = parsePattern('@*', 'publish', { inboxes: true });
  fc.assert(fc.property(channelPattern, p => !covers(p, every) && !covers(every, p)));
  fc.assert(fc.property(inbox, c => matches(every, c) && covers(every, parsePattern(c))));
  t.pass();
});

test('covers: holds for itself, and for a channel exactly when it matches', t => {
  fc.assert(fc.property(pattern, p => covers(p, p)));
  fc.assert(
    fc.property(pattern, channel, (p, c) => covers(p, parsePattern(c)) === matches(p, c)),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('meet: matches what both match, and nothing else', t => {
  fc.assert(
    fc.property(pattern, pattern, channel, (a, b, c) => {
      const both = meet(a, b);
      return (both !== undefined && matches(both, c)) === (matches(a, c) && matches(b, c));
    }),
    { numRuns: 3_000 },
  );
  fc.assert(
    fc.property(pattern, pattern, (a, b) => {
      const both = meet(a, b);
      return (
        both === undefined ||
        (covers(a, both) && covers(b, both) && parsePattern(both.text, 'both', { inboxes: true }).text === both.text)
      );
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('pattern index: finds what looking at every pattern finds, through additions and removals', t => {
  const steps = fc.array(fc.tuple(pattern, fc.boolean()), { maxLength: 40 });
  fc.assert(
    fc.property(steps, fc.array(channel, { minLength: 1, maxLength: 5 }), (changes, channels) => {
      const index = new PatternIndex<string>();
      const all = new Map<string, Pattern>();
      for (const [p, add] of changes) {
        if (add) {
          index.add(p, p.text);
          all.set(p.text, p);
        } else {
          index.remove(p, p.text);
          all.delete(p.text);
        }
      }
      for (const c of channels) {
        const expected = [...all.values()].filter(p => matches(p, c)).map(p => p.text);
        t.deepEqual([...index.match(c)].sort(), expected.sort());
      }
    }),
  );
});
