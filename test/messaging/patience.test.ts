import test from 'ava';
import { Patience } from '../../src/messaging/patience.js';

test('patience: over when all have taken or given up, with the number that took', async t => {
  const patience = new Patience(60_000);
  t.true(patience.over);
  for (let i = 0; i < 3; i++) patience.add({ expire: () => t.fail('too early') });
  const settled = patience.settled();
  patience.settle(true);
  patience.settle(false);
  t.false(patience.over);
  patience.settle(true);
  await settled;
  t.is(patience.taken, 2);
});

test('patience: one clock for all who wait', async t => {
  const patience = new Patience(5);
  let expired = 0;
  const expire = (): void => {
    expired++;
    patience.settle(false);
  };
  for (let i = 0; i < 3; i++) patience.add({ expire });
  await patience.settled();
  t.is(expired, 3);
  t.is(patience.taken, 0);
});
