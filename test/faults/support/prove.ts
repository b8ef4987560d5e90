import type { ExecutionContext } from 'ava';
import { describeViolations, NONE } from './checker.js';
import { runSeed } from './random.js';
import { saveRecording } from './recording.js';
import { type Scale, type Scenario, SHORT, settingsFor } from './scenario.js';

/** Many times what it takes on a machine with two cores of its own. */
const TIMEOUT_MS = 600_000;

/** Runs the short version of a scenario as a test: prints the seed and the figures, and expects no violation. */
export async function prove(
  t: ExecutionContext,
  scenario: Scenario,
  { rounds, ...change }: Partial<Scale> & Pick<Scale, 'rounds'>,
): Promise<void> {
  t.timeout(TIMEOUT_MS);
  const seed = runSeed();
  t.log(`FEDGATE_SEED=${seed} repeats it`);
  const outcome = await scenario(settingsFor(t, seed, { ...SHORT, ...change, rounds }, line => t.log(line)));
  const facts = Object.entries(outcome.facts).map(([name, value]) => `${name} ${value}`);
  t.log([`${outcome.kills} kills`, ...facts].join(', '));
  if (outcome.violations.length > 0) t.log(`recording: ${await saveRecording(outcome.events, `${seed}`)}`);
  t.is(describeViolations(outcome.violations), NONE);
}
