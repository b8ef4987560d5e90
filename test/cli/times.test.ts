import test from 'ava';
import { formatCount, plural } from '../../src/cli/counts.js';
import { parsePosition } from '../../src/cli/position.js';
import { ago, isoTimeIfAny, parseTime } from '../../src/cli/times.js';
import { FedgateError } from '../../src/errors.js';

const NOW = Date.UTC(2026, 2, 1, 12);

for (const [text, timeMs] of [
  ['10m', NOW - 600_000],
  ['2d', NOW - 2 * 86_400_000],
  ['2026-03-01', Date.UTC(2026, 2, 1)],
  ['2026-03-01T11:30:00Z', NOW - 1_800_000],
  ['2026-03-01T11:30:00+01:00', NOW - 5_400_000],
] as const) {
  test(`parseTime: ${text}`, t => t.is(parseTime(text, '--from-time', NOW), timeMs));
}

for (const text of ['', 'soon', '10', '10x', '2026', '2026-13-01', '1 March 2026', '-5m']) {
  test(`parseTime: ${JSON.stringify(text)} is refused, naming the option`, t => {
    const error = t.throws(() => parseTime(text, '--from-time', NOW), { instanceOf: FedgateError });
    t.is(error?.fields[0]?.field, '--from-time');
  });
}

for (const [text, at] of [
  ['earliest', 'earliest'],
  ['latest', 'latest'],
  ['0', { offset: 0 }],
  ['1234', { offset: 1_234 }],
  ['10m', { time: NOW - 600_000 }],
  ['2026-03-01T12:00:00Z', { time: NOW }],
] as const) {
  test(`parsePosition: ${text}`, t => t.deepEqual(parsePosition(text, '--from', NOW), at));
}

for (const text of ['', 'first', '-1', '1.5', '99999999999999999999']) {
  test(`parsePosition: ${JSON.stringify(text)} is refused, and told what is possible`, t => {
    t.throws(() => parsePosition(text, '--from', NOW), {
      message: /^--from: .* is no position: earliest, latest, an offset/,
    });
  });
}

test('times and counts: for people', t => {
  t.is(ago(BigInt(NOW - 65_000), NOW), '1 m 5 s ago');
  t.is(ago(0n, NOW), '-');
  t.is(isoTimeIfAny(0n), undefined);
  t.is(formatCount(1_234_567n), '1,234,567');
  t.is(plural(1n, 'record'), '1 record');
  t.is(plural(2_000, 'batch', 'batches'), '2,000 batches');
});
