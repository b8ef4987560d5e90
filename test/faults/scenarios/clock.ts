import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../support/registry.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, type Org, World } from '../support/world.js';

const SHIFTED_CLOCK = new URL('../support/shifted-clock.js', import.meta.url).href;
const MINUTE_MS = 60_000;
/** As far as a clock is wrong that somebody forgot, and as it jumps when that is noticed. */
const OFFSETS_MS = [10 * MINUTE_MS, -10 * MINUTE_MS, 60 * MINUTE_MS, -60 * MINUTE_MS, 0] as const;

/** The clocks of the gateways jump, each its own way, forth and back. */
export async function clockSteps(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const folder = await temporaryFolder(scope);
  const file = (org: Org): string => join(folder, org);
  const gateway = (org: Org) => ({
    nodeArguments: ['--import', SHIFTED_CLOCK],
    variables: { FEDGATE_TEST_CLOCK_FILE: file(org) },
  });
  const world = await World.open(scope, random, usualLoad({ ACME: gateway('ACME'), GLOBEX: gateway('GLOBEX') }));
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 20, PROGRESS_MS);
    const org = random.pick(ORGS);
    const offsetMs = random.pick(OFFSETS_MS);
    world.recording.note('fault', `the clock of ${org} jumps to ${offsetMs / MINUTE_MS} min off`);
    await setClock(file(org), offsetMs);
    // What a process believes of the time when it starts counts too.
    if (random.chance(0.3)) {
      await world.killGateway(org);
      await world.restartGateway(org);
    }
    world.recording.note('healed', `the clock of ${org} jumped`);
    await world.passes('work', 20, PROGRESS_MS);
  }
  return conclude(world, settings);
}

/** In one step: whoever reads sees the old or the new. */
async function setClock(file: string, offsetMs: number): Promise<void> {
  await writeFile(`${file}.new`, String(offsetMs));
  await rename(`${file}.new`, file);
}
