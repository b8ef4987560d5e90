import test from 'ava';
import fc from 'fast-check';
import { orderTargets } from '../../src/finding/srv-order.js';

const target = fc.record({
  name: fc.string({ maxLength: 5 }),
  priority: fc.integer({ min: 0, max: 3 }),
  weight: fc.integer({ min: 0, max: 5 }),
});
const lots = fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));

test('SRV order: every target once, a lower priority always before a higher one', t => {
  fc.assert(
    fc.property(fc.array(target, { maxLength: 12 }), lots, (targets, stream) => {
      const ordered = orderTargets(targets, () => stream.next().value as number);
      t.true(targets.every(each => ordered.includes(each)));
      t.is(ordered.length, targets.length);
      const priorities = ordered.map(({ priority }) => priority);
      t.deepEqual(
        priorities,
        [...priorities].sort((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
});

test('SRV order: within a priority the first is drawn by weight, and weight 0 has a small chance', t => {
  const targets = [
    { name: 'zero', priority: 1, weight: 0 },
    { name: 'one', priority: 1, weight: 10 },
    { name: 'three', priority: 1, weight: 30 },
  ];
  const firsts = new Map<string, number>();
  const draws = 4_100;
  for (let i = 0; i < draws; i++) {
    const [first] = orderTargets(targets, () => (i + 0.5) / draws);
    firsts.set(first?.name ?? '', (firsts.get(first?.name ?? '') ?? 0) + 1);
  }
  // 41 lots: 0 is the one of weight 0, 1 to 10 and 11 to 40 are the others'.
  t.deepEqual(Object.fromEntries(firsts), { zero: 100, one: 1_000, three: 3_000 });
});
