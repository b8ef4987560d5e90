import test from 'ava';
import { Backoff } from '../../src/backoff.js';
import { LINK_BACKOFF } from '../../src/link/backoff.js';

const waits = (random: number, count: number): number[] => {
  const backoff = new Backoff({ ...LINK_BACKOFF, random: () => random });
  return Array.from({ length: count }, () => backoff.next());
};

test('backoff: waits grow by the factor up to the cap', t => {
  const whole = waits(1, 30);
  t.is(whole[0], 200);
  t.is(whole[1], 340);
  t.is(whole.at(-1), 30_000);
  t.true(whole.every((wait, i) => i === 0 || wait >= (whole[i - 1] ?? 0)));
});

test('backoff: each wait lies between half of its length and the whole', t => {
  const [low, high] = [waits(0, 20), waits(1, 20)];
  for (const [i, wait] of low.entries()) t.is(wait, (high[i] ?? 0) / 2);
});

test('backoff: begins anew after a reset, and survives a thousand failures', t => {
  const backoff = new Backoff({ ...LINK_BACKOFF, random: () => 1 });
  for (let i = 0; i < 2_000; i++) t.true(backoff.next() <= 30_000);
  backoff.reset();
  t.is(backoff.next(), 200);
});
