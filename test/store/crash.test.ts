import test from 'ava';
import { parseCrashAt } from '../../src/store/crash.js';

test('crash points: are read with or without a passage', t => {
  t.deepEqual(parseCrashAt('after-sync'), { point: 'after-sync', nth: 1 });
  t.deepEqual(parseCrashAt('during-trim:12'), { point: 'during-trim', nth: 12 });
  for (const text of ['', 'nowhere', 'after-sync:', 'after-sync:0', 'after-sync:1:2', 'after-sync:x']) {
    t.throws(() => parseCrashAt(text), { instanceOf: RangeError, message: /not a crash point: one of before-write/ });
  }
});
