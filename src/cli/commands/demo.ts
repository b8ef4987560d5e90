import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { ApprovedPackage } from '../../demo/approval-story.js';
import { explorations } from '../../demo/explore.js';
import { Ledger } from '../../demo/ledger.js';
import { type Storyteller, tellStory } from '../../demo/story.js';
import { buildWorld, type DemoWorld, removeFolder } from '../../demo/world.js';
import { type CliEnv, print } from '../env.js';
import { EXIT } from '../exit-codes.js';
import { examples } from '../help.js';

export function registerDemo(program: Command, env: CliEnv): void {
  program
    .command('demo')
    .description('three organisations, a registry and live traffic on this machine, in a temporary folder')
    .option('--once', 'tell the story, check it, and exit')
    .addHelpText(
      'after',
      `${examples('fedgate demo', 'fedgate demo --once')}\n\nExits with ${EXIT.checkFailed} when a promise of the story does not hold.`,
    )
    .action(({ once }: { once?: boolean }) => demo(env, once === true));
}

async function demo(env: CliEnv, once: boolean): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-demo-'));
  const interrupted = new Promise<'interrupted'>(resolve =>
    env.signal.addEventListener('abort', () => resolve('interrupted'), { once: true }),
  );
  const out = (line: string): void => void env.stdout.write(`${line}\n`);
  out(`fedgate demo: everything runs on loopback and lives in ${folder}\n`);
  let world: DemoWorld | undefined;
  try {
    world = await buildWorld(folder, line => out(`  ${line}`));
    const story = new Story(out);
    const told = tellStory(world, story);
    told.catch(() => undefined);
    if ((await Promise.race([told, interrupted])) === 'interrupted') {
      env.exitCode = EXIT.interrupted;
      return;
    }
    out(`\n${story.held} of ${story.held + story.broken} promises held`);
    if (story.broken > 0) env.exitCode = EXIT.checkFailed;
    if (!once) await goOn(env, world, await told, interrupted);
  } finally {
    await world?.stop();
    await removeFolder(folder);
  }
}

class Story implements Storyteller {
  readonly #out: (line: string) => void;
  #chapters = 0;
  held = 0;
  broken = 0;

  constructor(out: (line: string) => void) {
    this.#out = out;
  }

  chapter(title: string): void {
    this.#out(`\n${++this.#chapters}. ${title}`);
  }

  fact(line: string): void {
    this.#out(`   ${line}`);
  }

  check(promise: string, holds: boolean): void {
    if (holds) this.held++;
    else this.broken++;
    this.#out(`   ${holds ? 'ok  ' : 'FAIL'} ${promise}`);
  }
}

const TRAFFIC_MS = 1_000;
/** How long orders that are on their way may take at the end. */
const SETTLE_MS = 5_000;

/** Keeps traffic going until Ctrl-C. */
async function goOn(
  env: CliEnv,
  world: DemoWorld,
  approved: ApprovedPackage,
  interrupted: Promise<unknown>,
): Promise<void> {
  await print(
    env,
    '\nIt goes on: ACME sends GLOBEX an order every second. In another terminal, in this folder, try:\n',
  );
  for (const { what, command } of explorations(world, approved)) await print(env, `  # ${what}\n  ${command}\n`);
  await print(env, 'Ctrl-C ends it and removes everything.');
  const { globex, registry, acme, initech } = world;
  for (const service of [globex.gateway, acme.gateway, initech.gateway, registry]) {
    service.onRestart(name => void env.stdout.write(`${name} died and was started again: process ${service.pid}\n`));
  }
  const ledger = new Ledger(acme, globex);
  const traffic = setInterval(() => void ledger.send(), TRAFFIC_MS);
  await interrupted;
  clearInterval(traffic);
  const { sent, booked, lost, repeated } = await ledger.balanced(SETTLE_MS);
  ledger.close();
  await print(env, `\n${sent} orders sent, ${booked} booked, ${lost} lost, ${repeated} repeated`);
}
