import test from 'ava';
import { backSoon } from './scenarios/quiet.js';
import { prove } from './support/prove.js';
import type { Scenario } from './support/scenario.js';

/** The promise is 3 s; a machine that runs other tests meanwhile gets more. */
const SOON_MS = 10_000;

const inTime: Scenario = async settings => {
  const outcome = await backSoon(settings);
  const slowest = Number(outcome.facts.slowestMs);
  const late = { invariant: 'I6' as const, what: `flowed again only after ${slowest} ms` };
  return { ...outcome, violations: slowest < SOON_MS ? outcome.violations : [...outcome.violations, late] };
};

test('faults: what waited flows again soon after a restart and after an outage', t => prove(t, inTime, { rounds: 1 }));
