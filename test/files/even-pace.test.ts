import test from 'ava';
import fc from 'fast-check';
import { evenPace, FAST_MS, MAX_SPREAD_MS, SPREAD_SHARE } from '../../src/files/fetch/even-pace.js';

const PIECE = 4 * 1024 * 1024;
const CHUNK = PIECE / 16;

/** Hands a piece on by a clock of its own; answers when each chunk went. */
function handOn(pieceMs: number | undefined, costMs: number): number[] {
  let nowMs = 1_000;
  const waitMs = evenPace(pieceMs, PIECE, () => nowMs);
  const times: number[] = [];
  for (let bytes = CHUNK; bytes <= PIECE; bytes += CHUNK) {
    nowMs += costMs;
    times.push(nowMs - 1_000);
    nowMs += waitMs(bytes);
  }
  return times;
}

test('even pace: what comes fast, or did not come at all, is handed on at once', t => {
  for (const pieceMs of [undefined, 0, 40, FAST_MS - 1]) t.deepEqual(handOn(pieceMs, 0), new Array(16).fill(0));
});

test('even pace: a piece of a slow line is spread over a part of the time that the next takes, without bursts', t => {
  const times = handOn(335, 1);
  const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  t.true(Math.max(...gaps) < 16 && Math.min(...gaps) > 9, String(gaps));
  t.true((times.at(-1) ?? 0) <= 335 * SPREAD_SHARE + 1);
});

test('even pace: never later than the share of the time, nor than the limit, however slow the reader is', t => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 100_000, noNaN: true }),
      fc.double({ min: 0, max: 50, noNaN: true }),
      (pieceMs, costMs) => {
        const last = handOn(pieceMs, costMs).at(-1) ?? 0;
        return last <= Math.max(16 * costMs, Math.min(pieceMs * SPREAD_SHARE, MAX_SPREAD_MS) + costMs) + 1e-6;
      },
    ),
  );
  t.pass();
});
