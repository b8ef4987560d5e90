import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, type Org, World } from '../support/world.js';

type Victim = { readonly what: 'gateway' | 'node'; readonly org: Org };

/** Kills at random instants, while starting too, and starts again at once. */
async function killing(settings: Settings, victims: readonly [Victim, ...Victim[]]): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  await world.passes('work', 20, PROGRESS_MS);
  while (world.kills < rounds) {
    const { what, org } = random.pick(victims);
    if (what === 'gateway') await killGateway(world, org);
    else await killNode(world, org);
    // Mostly the next kill comes before all is well again, sometimes after.
    if (random.chance(0.25)) await world.passes('work', 10, PROGRESS_MS);
    else await world.pause(20, 600);
  }
  return conclude(world, settings);
}

async function killGateway(world: World, org: Org): Promise<void> {
  await world.killGateway(org);
  if (world.random.chance(0.2)) {
    const { gateway } = world.sides[org];
    const starting = gateway.start().catch(() => undefined);
    await world.pause(50, 400);
    world.kills++;
    await gateway.kill();
    world.recording.note('fault', `kill -9 of the gateway of ${org} as it starts`, org);
    await starting;
  }
  await world.restartGateway(org);
}

async function killNode(world: World, org: Org): Promise<void> {
  await world.killNode(org);
  await world.restartNode(org);
}

/** kill -9 of either gateway at random instants under load. */
export const killedGateways = (settings: Settings): Promise<Outcome> =>
  killing(settings, [
    { what: 'gateway', org: 'ACME' },
    { what: 'gateway', org: 'GLOBEX' },
  ]);

/** kill -9 of publishers and consumers. */
export const killedNodes = (settings: Settings): Promise<Outcome> =>
  killing(settings, [
    { what: 'node', org: 'ACME' },
    { what: 'node', org: 'GLOBEX' },
  ]);

/** kill -9 of anything. */
export const killedAnything = (settings: Settings): Promise<Outcome> =>
  killing(settings, [
    { what: 'gateway', org: 'ACME' },
    { what: 'gateway', org: 'GLOBEX' },
    { what: 'node', org: 'ACME' },
    { what: 'node', org: 'GLOBEX' },
  ]);

/** kill -9 of both gateways in the same instant. */
export async function killedTogether(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', random.between(1, 30), PROGRESS_MS);
    await Promise.all(ORGS.map(org => world.killGateway(org)));
    await Promise.all(ORGS.map(org => world.restartGateway(org)));
  }
  return conclude(world, settings);
}
