import { parseArgs } from 'node:util';
import { SCENARIOS, type SoakedScenario } from './scenarios/index.js';
import { describeViolations } from './support/checker.js';
import { runSeed } from './support/random.js';
import { saveRecording } from './support/recording.js';
import { LONG, type Outcome, settingsFor } from './support/scenario.js';
import { Teardowns } from './support/teardowns.js';

/**
 * Every fault for as long as one likes: `npm run soak -- --minutes 60 --kills 1000 --seed 7 --only "kill"`.
 *
 * First the killing scenarios until there have been as many kills as asked for; then all others, again and again until the time is over,
 * each at least once. Prints a line per run, then a table. The seed of a run repeats it: `--only NAME --seed SEED`.
 */

interface Row {
  readonly name: string;
  runs: number;
  kills: number;
  acked: number;
  violations: number;
  peakMiB: number;
  seconds: number;
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    kills: { type: 'string', default: '1000' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
const wantedKills = Number(values.kills);
const endMs = performance.now() + Number(values.minutes) * 60_000;
const rows = new Map<string, Row>();
let seed = runSeed({ FEDGATE_SEED: values.seed ?? process.env.FEDGATE_SEED });

/** One run; what it throws counts as a violation, and the soak goes on. */
async function run({ name, run: scenario, rounds }: SoakedScenario): Promise<void> {
  const row = rows.get(name) ?? { name, runs: 0, kills: 0, acked: 0, violations: 0, peakMiB: 0, seconds: 0 };
  rows.set(name, row);
  const scope = new Teardowns();
  const fromMs = performance.now();
  say(`${name}: seed ${seed}`);
  try {
    const outcome = await scenario(settingsFor(scope, seed, { ...LONG, rounds }, say));
    await report(outcome, row);
  } catch (error) {
    row.violations++;
    say(`  FAILED: ${error instanceof Error ? error.message : String(error)}`);
  }
  await scope.undo().catch((error: unknown) => say(`  cleaning up failed: ${String(error)}`));
  row.runs++;
  row.seconds += (performance.now() - fromMs) / 1_000;
  seed++;
}

async function report(outcome: Outcome, row: Row): Promise<void> {
  row.kills += outcome.kills;
  row.acked += Number(outcome.facts.acked ?? 0);
  row.peakMiB = Math.max(row.peakMiB, Number(outcome.facts.peakMiB));
  row.violations += outcome.violations.length;
  const facts = Object.entries(outcome.facts).map(([fact, value]) => `${fact} ${value}`);
  say(`  ${outcome.kills} kills, ${facts.join(', ')}`);
  if (outcome.violations.length === 0) return;
  say(`  ${describeViolations(outcome.violations)}\n  recording: ${await saveRecording(outcome.events, `${seed}`)}`);
}

function table(): string {
  const head = ['scenario', 'runs', 'kills', 'acked', 'violations', 'peak MiB', 'seconds'];
  const lines = [...rows.values()].map(row => [
    row.name,
    ...[row.runs, row.kills, row.acked, row.violations, row.peakMiB, Math.round(row.seconds)].map(String),
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map(line => line[i]?.length ?? 0)));
  return [head, ...lines]
    .map(line =>
      line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}

const chosen = SCENARIOS.filter(({ name }) => name.includes(values.only));
const killing = chosen.filter(({ kills }) => kills);
const others = chosen.filter(({ kills }) => !kills);
const total = (): number => [...rows.values()].reduce((sum, { kills }) => sum + kills, 0);

if (chosen.length === 0) throw new Error(`no scenario is called ${values.only}`);
while (killing.length > 0 && total() < wantedKills)
  for (const scenario of killing) if (total() < wantedKills) await run(scenario);
for (const scenario of others) await run(scenario);
while (others.length > 0 && performance.now() < endMs)
  for (const scenario of others) if (performance.now() < endMs) await run(scenario);

say(`\n${table()}\n${total()} kills`);
process.exitCode = [...rows.values()].some(({ violations }) => violations > 0) ? 1 : 0;
