import { monotonicMs } from '../support/events.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, type Org, World } from '../support/world.js';

/**
 * How soon messages that waited flow again, on an otherwise quiet machine: after a restart of either gateway, and after an outage of the link
 * that was long enough for the patience of dialling to have grown.
 */
export async function backSoon(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds, stopMs } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  await world.passes('work', 20, PROGRESS_MS);
  const took: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const org of ORGS) took.push(await afterRestart(world, org, stopMs));
    took.push(await afterOutage(world, stopMs));
  }
  return conclude(world, settings, {}, () => ({
    slowestMs: Math.round(Math.max(...took)),
    times: took.map(Math.round).join(' '),
  }));
}

async function afterRestart(world: World, org: Org, awayMs: number): Promise<number> {
  await world.killGateway(org);
  await world.quiet(awayMs);
  await world.restartGateway(org);
  return untilDelivered(world);
}

async function afterOutage(world: World, awayMs: number): Promise<number> {
  for (const each of ORGS) world.sides[each].wire.cut();
  world.recording.note('fault', 'link cut');
  await world.quiet(awayMs);
  for (const each of ORGS) world.sides[each].wire.heal();
  world.recording.note('healed', 'link cut');
  return untilDelivered(world);
}

/** From now until the next message that no consumer had yet. */
async function untilDelivered(world: World): Promise<number> {
  const fromMs = monotonicMs();
  await world.passes('work', 1, PROGRESS_MS);
  return monotonicMs() - fromMs;
}
