import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../support/registry.js';
import { cutShort, filesOf, flipBit } from '../support/damage.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { type Org, World } from '../support/world.js';

type Damage = 'flip' | 'truncate';

const isDatabase = (path: string): boolean => path.endsWith('.mdb');
const isLock = (path: string): boolean => path.endsWith('lock.mdb') || path.endsWith('-lock');
/** Segment files of bodies: whatever is no database and large enough to hold one. */
const isSegment = (path: string): boolean => !isDatabase(path) && !isLock(path) && /seg|body|bodies/.test(path);

/**
 * Stored records that wait for their consumer go bad on the disk. They are noticed when they are read, fetched again from where they came
 * from, and nobody misses any.
 */
export async function damagedLog(settings: Settings, damage: Damage): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 10, PROGRESS_MS);
    await world.killNode('GLOBEX');
    await world.accumulates(60, PROGRESS_MS);
    await world.killGateway('GLOBEX');
    await harm(world, 'GLOBEX', damage);
    await world.restartGateway('GLOBEX');
    await world.restartNode('GLOBEX');
  }
  return conclude(world, settings, {}, () => mended(world, 'GLOBEX'));
}

/** Records that wait for a peer go bad on the disk: the numbers are used up, the receiver is told, and the rest arrives. */
export async function damagedOutbox(settings: Settings, damage: Damage): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 10, PROGRESS_MS);
    await world.killGateway('GLOBEX');
    await world.accumulates(60, PROGRESS_MS);
    await world.killGateway('ACME');
    await harm(world, 'ACME', damage);
    await world.restartGateway('ACME');
    await world.restartGateway('GLOBEX');
  }
  return conclude(world, settings, { reportedLoss: true }, () => outcomes(world));
}

/** Damages the part of each segment that was written last: what nobody has read yet. */
async function harm(world: World, org: Org, damage: Damage): Promise<void> {
  const segments = await filesOf(world.storeFolder(org), isSegment);
  if (segments.length === 0) throw new Error('the store has no segment files');
  world.recording.note('fault', `${damage} in the segments of ${org}`);
  for (const segment of segments) {
    if (damage === 'truncate') await cutShort(segment, world.random);
    else for (let i = 0; i < 5; i++) await flipBit(segment, world.random, [0.5, 1]);
  }
}

/** What a gateway said of its stored batches. */
function said(world: World, org: Org, what: string): number {
  return world.sides[org].gateway.events.filter(({ msg, event }) => msg === 'durable' && event === what).length;
}

const mended = (world: World, org: Org): Outcome['facts'] => ({
  quarantined: said(world, org, 'quarantined'),
  mended: said(world, org, 'mended'),
  lost: said(world, org, 'lost'),
});

const outcomes = (world: World): Outcome['facts'] => ({
  withheld: said(world, 'ACME', 'withheld'),
  told: world.recording.events.filter(({ kind }) => kind === 'missing').length,
});

/**
 * The database itself goes bad. Either the start refuses with STORE_DAMAGED, and the store that is put back in its place goes on; or what was
 * hit was in no use, and all is as before. The process never dies without saying why.
 */
export async function damagedDatabase(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, usualLoad());
  await world.begin();
  const verdicts: string[] = [];
  for (let round = 0; round < rounds; round++) {
    await world.passes('work', 10, PROGRESS_MS);
    await world.killGateway('GLOBEX');
    const folder = world.storeFolder('GLOBEX');
    const copy = join(await temporaryFolder(scope), 'copy');
    await cp(folder, copy, { recursive: true });
    const databases = await filesOf(folder, path => isDatabase(path) && !isLock(path));
    const damage = random.pick(['flip', 'truncate'] as const);
    for (const path of databases) {
      if (damage === 'truncate') await cutShort(path, random);
      else for (let i = 0; i < 20; i++) await flipBit(path, random);
    }
    verdicts.push(await startDamaged(world, damage));
    await rm(folder, { recursive: true });
    await cp(copy, folder, { recursive: true });
    await world.restartGateway('GLOBEX');
  }
  return conclude(world, settings, {}, () => ({
    refused: verdicts.filter(verdict => verdict === 'STORE_DAMAGED').length,
    rounds,
  }));
}

async function startDamaged(world: World, damage: Damage): Promise<string> {
  const { gateway } = world.sides.GLOBEX;
  const complaint = await gateway.start().then(
    () => 'started',
    (error: Error) => error.message,
  );
  if (complaint === 'started') await gateway.kill();
  const verdict = complaint === 'started' ? complaint : /\[(STORE_[A-Z]+)\]/.exec(complaint)?.[1];
  if (verdict === undefined) throw new Error(`after ${damage} of the database no reason was given: ${complaint}`);
  return verdict;
}
