import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, otherOrg, World } from '../support/world.js';

/** One fault from beginning to end, healing included. */
type Fault = (world: World, settings: Settings) => Promise<void>;

const wires = (world: World) => ORGS.map(org => world.sides[org].wire);

const killGateway: Fault = async world => {
  const org = world.random.pick(ORGS);
  await world.killGateway(org);
  await world.pause(0, 500);
  await world.restartGateway(org);
};

const killNode: Fault = async world => {
  const org = world.random.pick(ORGS);
  await world.killNode(org);
  await world.restartNode(org);
};

/** A gateway dies while the other is cut off, and the link comes back before it does. */
const killBehindCut: Fault = async world => {
  const org = world.random.pick(ORGS);
  for (const wire of wires(world)) wire.cut();
  await world.pause(50, 500);
  await world.killGateway(org);
  for (const wire of wires(world)) wire.heal();
  await world.restartGateway(org);
};

const cut: Fault = async world => {
  for (const wire of wires(world)) wire.cut();
  await world.pause(50, 1_500);
};

const swallow: Fault = async world => {
  const way = world.random.pick(['forth', 'back', 'both'] as const);
  for (const wire of wires(world)) wire.swallow(way);
  await world.pause(200, 3_000);
};

const stall: Fault = async world => {
  const way = world.random.pick(['forth', 'back', 'both'] as const);
  for (const wire of wires(world)) wire.stall(way);
  await world.pause(200, 3_000);
};

const slow: Fault = async world => {
  for (const wire of wires(world)) wire.condition({ delayMs: 50, loss: 0.05 });
  await world.pause(500, 2_000);
};

const stop: Fault = async (world, { stopMs }) => {
  const { gateway } = world.sides[world.random.pick(ORGS)];
  gateway.signal('SIGSTOP');
  await world.pause(100, stopMs);
  gateway.signal('SIGCONT');
};

/** One gateway is stopped and the other dies meanwhile. */
const stopAndKill: Fault = async (world, { stopMs }) => {
  const org = world.random.pick(ORGS);
  const { gateway } = world.sides[org];
  gateway.signal('SIGSTOP');
  await world.killGateway(otherOrg(org));
  await world.pause(100, stopMs);
  gateway.signal('SIGCONT');
  await world.restartGateway(otherOrg(org));
};

const FAULTS = { killGateway, killNode, killBehindCut, cut, swallow, stall, slow, stop, stopAndKill };

/** Faults of all kinds, in an order and at instants that the seed decides. */
export async function mixedFaults(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  const names = Object.keys(FAULTS) as (keyof typeof FAULTS)[];
  await world.begin();
  await world.passes('work', 10, PROGRESS_MS);
  for (let round = 0; round < rounds; round++) {
    const name = names[random.between(0, names.length - 1)] ?? 'cut';
    world.recording.note('fault', name);
    await FAULTS[name](world, settings);
    for (const wire of wires(world)) wire.heal();
    world.recording.note('healed', name);
    if (random.chance(0.3)) await world.passes('work', 10, PROGRESS_MS);
    else await world.pause(0, 1_000);
  }
  return conclude(world, settings);
}
