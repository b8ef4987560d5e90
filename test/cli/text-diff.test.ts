import test from 'ava';
import fc from 'fast-check';
import { diffLines } from '../../src/cli/text-diff.js';

/** Applies the hunks of a diff, as patch does, and checks on the way that what they remove and keep is there. */
function patched(before: string, diff: readonly string[]): string {
  const lines = split(before);
  const out: string[] = [];
  let at = 0;
  for (const line of diff) {
    const heading = /^@@ -(\d+),(\d+) \+(\d+),(\d+) @@$/.exec(line);
    if (heading) {
      const from = Number(heading[1]) - (heading[2] === '0' ? 0 : 1);
      while (at < from) out.push(lines[at++] ?? '');
    } else if (line.startsWith('+')) out.push(line.slice(1));
    else {
      if (lines[at] !== line.slice(1)) throw new Error(`line ${at} is ${lines[at]}, not ${line.slice(1)}`);
      if (line.startsWith(' ')) out.push(line.slice(1));
      at++;
    }
  }
  return [...out, ...lines.slice(at)]
    .map(line => (line.endsWith(NO_END) ? line.slice(0, -NO_END.length) : `${line}\n`))
    .join('');
}

const NO_END = '\\ no line feed at the end';
const split = (text: string): string[] =>
  text === '' ? [] : text.endsWith('\n') ? text.slice(0, -1).split('\n') : `${text}${NO_END}`.split('\n');

test('text diff: the changes of a text with three lines around them', t => {
  const before = Array.from({ length: 20 }, (_, i) => `line ${i + 1}\n`).join('');
  const after = before.replace('line 10\n', 'line ten\nand a half\n').replace('line 20\n', 'line 20');
  t.deepEqual(diffLines(before, after), [
    '@@ -7,7 +7,8 @@',
    ...[' line 7', ' line 8', ' line 9', '-line 10', '+line ten', '+and a half', ' line 11', ' line 12', ' line 13'],
    '@@ -17,4 +18,4 @@',
    ...[' line 17', ' line 18', ' line 19', '-line 20', '+line 20\\ no line feed at the end'],
  ]);
  t.deepEqual(diffLines(before, before), []);
  t.deepEqual(diffLines('', 'new\n'), ['@@ -0,0 +1,1 @@', '+new']);
  t.deepEqual(diffLines('old\n', ''), ['@@ -1,1 +0,0 @@', '-old']);
});

const text = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 40 }), fc.boolean())
  .map(([lines, end]) => lines.join('\n') + (end && lines.length > 0 ? '\n' : ''));

test('text diff: applied to the one text it gives the other', t => {
  fc.assert(
    fc.property(text, text, (before, after) => {
      t.is(patched(before, diffLines(before, after)), after);
    }),
    { numRuns: 2_000 },
  );
});

test('text diff: no shorter one exists', t => {
  const shortest = (a: readonly string[], b: readonly string[]): number => {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (const [i, line] of a.entries()) {
      const next = [i + 1];
      for (let j = 1; j <= b.length; j++)
        next[j] = line === b[j - 1] ? (row[j - 1] ?? 0) : 1 + Math.min(row[j] ?? 0, next[j - 1] ?? 0);
      row = next;
    }
    return row[b.length] ?? 0;
  };
  fc.assert(
    fc.property(text, text, (before, after) => {
      const edits = diffLines(before, after).filter(line => /^[+-]/.test(line)).length;
      t.is(edits, shortest(split(before), split(after)));
    }),
    { numRuns: 500 },
  );
});

test('text diff: two large texts without anything in common are shown as replaced, at once', t => {
  const many = (name: string): string => Array.from({ length: 50_000 }, (_, i) => `${name} ${i}\n`).join('');
  // What it costs, not how long that takes beside others.
  const start = process.cpuUsage();
  const diff = diffLines(`same\n${many('old')}`, `same\n${many('new')}`);
  t.is(diff.filter(line => line.startsWith('-')).length, 50_000);
  t.is(diff.filter(line => line.startsWith('+')).length, 50_000);
  t.true(process.cpuUsage(start).user < 5_000_000);
});
