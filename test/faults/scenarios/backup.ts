import { join } from 'node:path';
import { fedgate } from '../../support/cli.js';
import { temporaryFolder } from '../../support/registry.js';
import { conclude, type Outcome, PROGRESS_MS, type Settings, usualLoad } from '../support/scenario.js';
import { type Org, World, type WorldPlan } from '../support/world.js';

/** From ACME to GLOBEX only, and without anybody who waits for a consumer: what is restored may have lost what they wait for. */
function oneWayLoad(): WorldPlan {
  const { ACME, GLOBEX } = usualLoad();
  return {
    ACME: { publishers: ACME.publishers.filter(({ level }) => level !== 'consumed'), consumers: [] },
    GLOBEX: { publishers: [], consumers: GLOBEX.consumers },
  };
}

/** Runs a command on the store of an organisation; throws what it said when it fails. */
async function store(world: World, org: Org, verb: 'backup' | 'restore', path: string): Promise<void> {
  const option = verb === 'backup' ? '--to' : '--from';
  const args = ['store', verb, '--dir', world.sides[org].gateway.folder, option, path];
  const { code, stdout, stderr } = await fedgate([...args, ...(verb === 'restore' ? ['--force'] : [])]);
  if (code !== 0) throw new Error(`fedgate ${args.join(' ')} ended with ${code}:\n${stdout}\n${stderr}`);
}

/**
 * The sender's store is put back to an old backup, taken while messages waited in it that arrived meanwhile. They are not sent again, what
 * is published afterwards arrives, and nothing is skipped.
 */
export async function restoredSender(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, oneWayLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    const backup = join(await temporaryFolder(scope), 'backup');
    await world.passes('work', 20, PROGRESS_MS);
    await world.killGateway('GLOBEX');
    await world.accumulates(30, PROGRESS_MS);
    await store(world, 'ACME', 'backup', backup);
    await world.restartGateway('GLOBEX');
    await world.passes('work', 60, PROGRESS_MS);
    await world.rest('ACME', PROGRESS_MS);
    await world.killGateway('ACME');
    await store(world, 'ACME', 'restore', backup);
    await world.restartGateway('ACME');
    await world.restartNode('ACME');
    await world.passes('work', 60, PROGRESS_MS);
  }
  return conclude(world, settings);
}

/**
 * The receiver's store is put back to an old backup. What it had received since and nobody had consumed is gone: consumers are told, and
 * what comes afterwards arrives.
 */
export async function restoredReceiver(settings: Settings): Promise<Outcome> {
  const { scope, random, rounds } = settings;
  const world = await World.open(scope, random, oneWayLoad());
  await world.begin();
  for (let round = 0; round < rounds; round++) {
    const backup = join(await temporaryFolder(scope), 'backup');
    await world.passes('work', 20, PROGRESS_MS);
    // Quiet, so that what was acknowledged before the backup is acknowledged in it.
    await world.rest('ACME', PROGRESS_MS);
    await world.rest('GLOBEX', PROGRESS_MS);
    await world.killNode('GLOBEX');
    await store(world, 'GLOBEX', 'backup', backup);
    await world.restartNode('ACME');
    await world.accumulates(30, PROGRESS_MS);
    await world.killGateway('GLOBEX');
    await store(world, 'GLOBEX', 'restore', backup);
    await world.restartGateway('GLOBEX');
    await world.restartNode('GLOBEX');
    await world.passes('work', 60, PROGRESS_MS);
  }
  const told = (): number => world.recording.events.filter(({ kind }) => kind === 'missing').length;
  return conclude(world, settings, { reportedLoss: true }, () => ({ told: told() }));
}
