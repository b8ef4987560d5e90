import type { CrashPoint } from '../../../src/store/store.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { ORGS, type OrgPlan, World, type WorldPlan } from '../support/world.js';

export const CRASH_POINTS: readonly CrashPoint[] = [
  'before-write',
  'after-write',
  'after-sync',
  'after-commit',
  'during-trim',
];

/** Retention so short, and messages so large, that trimming is always at work: the crash point in it must be reached. */
const TRIMMING = { extra: 'durable: { retention: [{ pattern: "**", keepMs: 0, keepBytes: 0 }] }' };
const PADDING_BYTES = 40_000;

function heavyLoad(): WorldPlan {
  const plan = usualLoad({ ACME: TRIMMING, GLOBEX: TRIMMING });
  const heavier = (org: OrgPlan): OrgPlan => ({
    ...org,
    publishers: org.publishers.map(publisher => ({ ...publisher, paddingBytes: PADDING_BYTES })),
  });
  return { ACME: heavier(plan.ACME), GLOBEX: heavier(plan.GLOBEX) };
}

/** Each gateway dies by its own hand at each named point of its store, once soon and then ever later. */
export async function crashPoints(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, heavyLoad());
  await world.begin();
  const reached: string[] = [];
  for (let round = 0; round < rounds; round++)
    for (const point of CRASH_POINTS)
      for (const org of ORGS) {
        await world.passes('work', 3, PROGRESS_MS);
        const nth = point === 'during-trim' ? 1 : random.between(1, 20);
        if (await crashAt(world, org, point, nth)) reached.push(`${point} at ${org}`);
      }
  return conclude(world, settings, {}, () => ({
    reached: new Set(reached).size,
    points: CRASH_POINTS.length * ORGS.length,
  }));
}

/** Restarts the gateway so that it dies at the point; false when it did not get there in time. */
async function crashAt(world: World, org: (typeof ORGS)[number], point: CrashPoint, nth: number): Promise<boolean> {
  const { gateway } = world.sides[org];
  await world.measure(org);
  world.recording.note('fault', `the gateway of ${org} is to die ${point} ${nth}`);
  await gateway.kill('SIGTERM');
  // It may die before it is ready.
  await gateway.start({ FEDGATE_CRASH_AT: `${point}:${nth}` }).catch(() => undefined);
  const died = await Promise.race([gateway.exited().then(() => true), world.quiet(PROGRESS_MS).then(() => false)]);
  if (died) world.kills++;
  else await gateway.kill();
  world.recording.note('fault', `the gateway of ${org} died ${point} ${nth}`, org);
  await world.restartGateway(org);
  return died;
}

/** Consumers die between sending an acknowledgement and hearing that it is settled. */
export async function diesAfterAck(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    const org = random.pick(ORGS);
    await world.killNode(org);
    const doomed = await world.startNode(org, { dieAfterAcks: random.between(1, 20) });
    doomed.tell('go');
    await doomed.ended();
    world.kills++;
    await world.restartNode(org);
    await world.passes(org === 'ACME' ? 'books' : 'work', 5, PROGRESS_MS);
  }
  return conclude(world, settings);
}
