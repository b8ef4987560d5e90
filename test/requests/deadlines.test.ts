import test from 'ava';
import fc from 'fast-check';
import { Deadlines, type Due } from '../../src/requests/deadlines.js';

class Alarm implements Due {
  heapAt = -1;
  readonly dueMs: number;
  rang = 0;
  readonly #onExpire: (alarm: Alarm) => void;

  constructor(dueMs: number, onExpire: (alarm: Alarm) => void) {
    this.dueMs = dueMs;
    this.#onExpire = onExpire;
  }

  expire(): void {
    this.rang++;
    this.#onExpire(this);
  }
}

test('deadlines: each ends once, in order, none before its time, and none that was removed', t => {
  const steps = fc.array(
    fc.oneof(fc.record({ add: fc.nat(1_000) }), fc.record({ remove: fc.nat(50) }), fc.record({ pass: fc.nat(300) })),
    { maxLength: 120, size: 'max' },
  );
  fc.assert(
    fc.property(steps, all => {
      let nowMs = 0;
      const deadlines = new Deadlines(() => nowMs);
      const alarms: Alarm[] = [];
      const removed = new Set<Alarm>();
      let last = 0;
      for (const step of all) {
        if ('add' in step) {
          const alarm = new Alarm(nowMs + step.add, rung => {
            if (rung.dueMs > nowMs || rung.dueMs < last) throw new Error('out of order');
            last = rung.dueMs;
          });
          alarms.push(alarm);
          deadlines.add(alarm);
        } else if ('remove' in step) {
          const alarm = alarms[step.remove];
          if (alarm && alarm.rang === 0) removed.add(alarm);
          if (alarm) deadlines.remove(alarm);
        } else {
          last = 0;
          nowMs += step.pass;
          deadlines.expire();
        }
      }
      last = 0;
      nowMs += 1_000_000;
      deadlines.expire();
      deadlines.close();
      return deadlines.size === 0 && alarms.every(alarm => alarm.rang === (removed.has(alarm) ? 0 : 1));
    }),
  );
  t.pass();
});

test('deadlines: the timer fires for the earliest, also when that came last', async t => {
  const deadlines = new Deadlines();
  const rang: string[] = [];
  await new Promise<void>(resolve => {
    deadlines.add(new Alarm(performance.now() + 60_000, () => rang.push('never')));
    deadlines.add(
      new Alarm(performance.now() + 30, () => {
        rang.push('second');
        resolve();
      }),
    );
    deadlines.add(new Alarm(performance.now() + 5, () => rang.push('first')));
  });
  deadlines.close();
  t.deepEqual(rang, ['first', 'second']);
});
