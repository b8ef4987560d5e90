import type { FaultyWire } from '../support/proxy.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, World } from '../support/world.js';

/** Breaks the wires between the gateways in one way or another, heals them, and sees that messages pass again. */
async function onWires(
  settings: Settings,
  what: string,
  breakIt: (wires: readonly FaultyWire[], world: World) => Promise<void> | void,
  [leastMs, mostMs]: readonly [number, number],
): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  const wires = ORGS.map(org => world.sides[org].wire);
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 20, PROGRESS_MS);
    world.recording.note('fault', what);
    await breakIt(wires, world);
    await world.pause(leastMs, mostMs);
    for (const wire of wires) wire.heal();
    world.recording.note('healed', what);
    await world.passes('work', 20, PROGRESS_MS);
  }
  return conclude(world, settings, {}, () => ({ connections: wires.reduce((sum, { taken }) => sum + taken, 0) }));
}

/** Every connection reset, and new ones refused. */
export const cutLink = (settings: Settings): Promise<Outcome> =>
  onWires(settings, 'link cut', wires => wires.forEach(wire => void wire.cut()), [100, 3_000]);

/** Packets vanish and nobody is told: longer than a silent peer is believed in, and shorter. */
export const halfOpen = (settings: Settings): Promise<Outcome> =>
  onWires(settings, 'link half-open', wires => wires.forEach(wire => void wire.swallow()), [1_000, 5_000]);

/** One direction is lost, the other goes on. */
export const oneWay = (settings: Settings): Promise<Outcome> =>
  onWires(
    settings,
    'link one-way',
    (wires, { random }) => {
      const way = random.pick(['forth', 'back'] as const);
      const lost = random.chance(0.5);
      for (const wire of wires) lost ? wire.swallow(way) : wire.stall(way);
    },
    [1_000, 5_000],
  );

/** On and off, again and again. */
export const flapping = (settings: Settings): Promise<Outcome> =>
  onWires(
    settings,
    'link flapping',
    async (wires, world) => {
      for (let i = 0; i < 5; i++) {
        for (const wire of wires) wire.cut();
        await world.pause(50, 800);
        for (const wire of wires) wire.heal();
        await world.pause(50, 800);
      }
    },
    [0, 0],
  );

/** 100 ms there and back, and lossy: nothing breaks, and all the time messages pass. */
export async function slowAndLossy(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  await world.passes('work', 20, PROGRESS_MS);
  for (const org of ORGS) world.sides[org].wire.condition({ delayMs: 50, loss: 0.02 });
  world.recording.note('healed', 'link slow and lossy');
  for (let round = 0; round < rounds; round++) await world.passes('work', 50, PROGRESS_MS);
  const links = ORGS.map(org =>
    world.sides[org].gateway.events.filter(({ msg, state }) => msg === 'link' && state === 'up'),
  );
  for (const org of ORGS) world.sides[org].wire.heal();
  return conclude(world, settings, {}, () => ({ links: links.reduce((sum, ups) => sum + ups.length, 0) }));
}

/** A gateway stops for a while and goes on as if nothing had been. */
export async function stopped(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds, stopMs } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 20, PROGRESS_MS);
    const org = random.pick(ORGS);
    world.recording.note('fault', `SIGSTOP of the gateway of ${org}`);
    world.sides[org].gateway.signal('SIGSTOP');
    await world.pause(stopMs, stopMs);
    world.sides[org].gateway.signal('SIGCONT');
    world.recording.note('healed', `SIGCONT of the gateway of ${org}`);
    await world.passes('work', 20, PROGRESS_MS);
  }
  return conclude(world, settings);
}
