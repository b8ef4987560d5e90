import test from 'ava';
import fc from 'fast-check';
import { DurableWorld } from '../support/durable-world.js';

/**
 * A model of everything that can come between a publisher and a log: frames that wait, commits that fail, processes that die with some of
 * their changes on the disk and some not, wires that are cut with receipts on them, backups of either side. Outbox, sender, receiver
 * and resume are the real ones.
 */

type Step = (world: DurableWorld) => unknown;

const SIDES = ['acme', 'globex'] as const;

/** The steps of a life without backups, by name. */
const STEPS: Readonly<Record<string, Step>> = {
  publish: world => world.publish(),
  repeat: world => world.repeat(),
  connect: world => world.connect(),
  cut: world => world.cut(),
  'a record gets through': async world => {
    world.publish();
    for (const side of SIDES) {
      await world.settle();
      world.commit(side, 'stored');
      await world.settle();
      world.deliver(side, 1e6);
    }
  },
  ...Object.fromEntries(
    SIDES.flatMap((side): [string, Step][] => [
      [`${side} sends 1`, world => world.deliver(side, 1)],
      [`${side} sends all`, world => world.deliver(side, 1e6)],
      [`${side} commits`, world => world.commit(side, 'stored')],
      [`${side} cannot commit`, world => world.commit(side, 'failed')],
      [`${side} dies`, world => world.crash(side, 0)],
      [`${side} dies after 1`, world => world.crash(side, 1)],
      [`${side} dies after all`, world => world.crash(side, 1e6)],
    ]),
  ),
};
const BACKUPS: Readonly<Record<string, Step>> = Object.fromEntries(
  SIDES.flatMap((side): [string, Step][] => [
    [`${side} is backed up`, world => world.backup(side)],
    [`${side} is restored`, world => world.restore(side)],
  ]),
);

async function live(names: readonly string[], repeats: boolean): Promise<void> {
  const world = await DurableWorld.open({ repeats });
  try {
    for (const name of names) {
      await (STEPS[name] ?? BACKUPS[name])?.(world);
      await world.settle();
    }
    await world.heal();
  } catch (error) {
    throw new Error(`${names.join(', ')}: ${error}`);
  } finally {
    world.close();
  }
}

/** The seed, the shortest life that fails, and how it does, stand in the message. */
async function explore(lives: fc.Arbitrary<string[]>, repeats: boolean): Promise<void> {
  const details = await fc.check(
    fc.asyncProperty(lives, names => live(names, repeats)),
    { numRuns: RUNS, interruptAfterTimeLimit: 40_000 },
  );
  if (!details.failed) return;
  const { seed, counterexamplePath, errorInstance } = details;
  throw new Error(`seed ${seed}, path ${counterexamplePath}: ${errorInstance}`);
}

const RUNS = Number(process.env.FEDGATE_MODEL_RUNS ?? 300);

/** Steps that lead somewhere come more often than those that end something. */
const weighted = (names: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    ...names.map(name => ({
      arbitrary: fc.constant(name),
      weight: /dies|cut|cannot|restored/.test(name) ? 1 : /connect|sends all/.test(name) ? 3 : 2,
    })),
  );

test.serial('resume: whatever happens to gateways and wires, each record arrives once and in order', async t => {
  const lives = fc.array(weighted(Object.keys(STEPS)), { minLength: 5, maxLength: 40, size: 'max' });
  await t.notThrowsAsync(explore(lives, true));
});

test.serial('resume: restored backups lose what only they did not have, repeat nothing and raise no alarm', async t => {
  const lives = fc.array(weighted([...Object.keys(STEPS), ...Object.keys(BACKUPS)]), {
    minLength: 5,
    maxLength: 40,
    size: 'max',
  });
  await t.notThrowsAsync(explore(lives, false));
});

test.serial('resume: every short life of a lane ends well', async t => {
  const begin = ['publish', 'acme commits', 'connect', 'acme commits', 'globex commits', 'publish', 'globex sends all'];
  const names = Object.keys(STEPS).filter(name => !/after 1|sends 1|repeat|gets through/.test(name));
  let count = 0;
  for (const first of names) {
    for (const second of names) {
      for (const third of ['globex sends all', 'acme commits', 'connect']) {
        count++;
        const steps = [...begin, first, second, third];
        await t.notThrowsAsync(live(steps, true), steps.join(', '));
      }
    }
  }
  t.log(`${count} lives`);
});

test('resume: receipts for an older epoch may come after both sides said hello with a later one', async t => {
  const life = [
    'a record gets through',
    'acme is backed up',
    'acme is restored',
    'publish',
    'connect',
    'a record gets through',
    'a record gets through',
    'connect',
    'acme dies after 1',
    'globex commits',
  ];
  await t.notThrowsAsync(live(life, false));
});
