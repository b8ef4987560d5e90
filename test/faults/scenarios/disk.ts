import { SmallDisk } from '../support/mounts.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { type Org, World } from '../support/world.js';

/** The smallest disk on which a store with this little reserve has room to work. */
const DISK_MEBIBYTES = 96;
const LITTLE_RESERVE = { extra: 'durable: { reserveBytes: 4194304 }' };
const WINDOW = 1;

async function onSmallDisk(settings: Settings, org: Org): Promise<{ world: World; disk: SmallDisk }> {
  const { scope, random } = settings;
  let disk: SmallDisk | undefined;
  const plan = usualLoad({ ACME: LITTLE_RESERVE, GLOBEX: LITTLE_RESERVE }, WINDOW);
  const world = await World.open(scope, random, plan, async (name, storeFolder) => {
    if (name === org) disk = await SmallDisk.mount(scope, storeFolder, DISK_MEBIBYTES);
  });
  if (!disk) throw new Error('no disk was mounted');
  await world.begin();
  await world.passes('work', 20, PROGRESS_MS);
  return { world, disk };
}

/** The disk of one gateway fills up: nothing that was acknowledged is lost, and when there is room again all goes on by itself. */
export async function diskFull(settings: Settings, org: Org): Promise<Outcome> {
  const { random, rounds } = settings;
  const { world, disk } = await onSmallDisk(settings, org);
  const { gateway } = world.sides[org];
  let noticed = 0;
  for (let round = 0; round < rounds; round++) {
    const before = gateway.events.length;
    world.recording.note('fault', `the disk of ${org} is full`, org);
    await disk.fill();
    const full = gateway.logged(({ msg, state }) => msg === 'store' && state === 'full', before).then(() => 1);
    noticed += await Promise.race([full, world.quiet(PROGRESS_MS).then(() => 0)]);
    await world.pause(500, 2_000);
    if (random.chance(0.5)) await world.killGateway(org);
    // It starts on a full disk too.
    if (gateway.pid === undefined) await gateway.start();
    await disk.release();
    world.recording.note('healed', `the disk of ${org} has room`);
    await world.passes('work', 20, PROGRESS_MS);
  }
  return conclude(world, settings, { unmarkedMs: PROGRESS_MS }, () => ({ noticed }));
}

/** A gateway is started on a disk that became read-only: it says so, and after the disk can be written to again nothing is lost. */
export async function diskReadOnly(settings: Settings, org: Org): Promise<Outcome> {
  const { world, disk } = await onSmallDisk(settings, org);
  const { gateway } = world.sides[org];
  await world.killGateway(org);
  await disk.readOnly(true);
  const complaint = await startOrComplaint(world, org);
  const refused = /\[(STORE_READ_ONLY|FILE_UNUSABLE)\]/.exec(complaint ?? '')?.[1];
  if (complaint !== undefined && refused === undefined) throw new Error(`no reason was given: ${complaint}`);
  await disk.readOnly(false);
  if (!gateway.running) await gateway.start();
  world.recording.note('healed', `the disk of ${org} can be written to`);
  await world.passes('work', 20, PROGRESS_MS);
  await world.passes('books', 20, PROGRESS_MS);
  return conclude(world, settings, {}, () => ({ start: refused ?? 'started' }));
}

/** Starts a gateway; gives what it said when it would not. */
const startOrComplaint = (world: World, org: Org): Promise<string | undefined> =>
  world.sides[org].gateway.start().then(
    () => undefined,
    (error: Error) => error.message,
  );
