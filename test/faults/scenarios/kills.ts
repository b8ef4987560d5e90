import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, seededRandom } from '../support/random.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, type Org, World } from '../support/world.js';

type Victim = { readonly what: 'gateway' | 'node'; readonly org: Org };
type Victims = readonly [Victim, ...Victim[]];

/** So many kills, then all must be well again before there are more. */
const KILLS_PER_PHASE = 10;

/** Kills at random instants, while starting too, and starts again at once. Each group of victims has a killer of its own, at work beside the others. */
async function killing(settings: Settings, groups: readonly [Victims, ...Victims[]]): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  // Of its own each: which of two that work side by side chooses first is no part of what a seed repeats.
  const killers = groups.map((victims, i) => ({ victims, luck: seededRandom(random.seed + 2 + i) }));
  const kills = Math.ceil(Math.min(rounds, KILLS_PER_PHASE) / groups.length);
  await world.begin();
  while (world.kills < rounds) {
    await world.passes('work', 10, PROGRESS_MS);
    await Promise.all(killers.map(({ victims, luck }) => killInTurn(world, luck, victims, kills)));
  }
  return conclude(world, settings);
}

/** Kills one after the other, some as they start. In the end all of them run. */
async function killInTurn(world: World, luck: Random, victims: Victims, kills: number): Promise<void> {
  const returns = new Map<Victim, Promise<void>>();
  for (let i = 0; i < kills; i++) {
    const victim = luck.pick(victims);
    await (victim.what === 'gateway' ? world.killGateway(victim.org) : world.killNode(victim.org));
    const back = victim.what === 'gateway' ? world.restartGateway(victim.org) : world.restartNode(victim.org);
    // The next kill may be that of one that is about to start.
    back.catch(() => undefined);
    returns.set(victim, back);
    if (luck.chance(0.6)) await back;
    await sleep(luck.between(20, 500));
  }
  await Promise.all(returns.values());
}

const of = (what: Victim['what']): Victims => [
  { what, org: 'ACME' },
  { what, org: 'GLOBEX' },
];

/** kill -9 of either gateway at random instants under load. */
export const killedGateways = (settings: Settings): Promise<Outcome> => killing(settings, [of('gateway')]);

/** kill -9 of publishers and consumers. */
export const killedNodes = (settings: Settings): Promise<Outcome> => killing(settings, [of('node')]);

/** kill -9 of anything: gateways and programs have each their own killer. */
export const killedAnything = (settings: Settings): Promise<Outcome> => killing(settings, [of('gateway'), of('node')]);

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
