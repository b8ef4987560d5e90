import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { openStore } from '../../src/store/open.js';
import type { CrashPoint } from '../../src/store/store.js';
import type { TestScope } from '../support/registry.js';
import { complaint, readState, SEGMENT_BYTES } from './committed.js';
import { storeFolder } from './support.js';

const SCRIPT = fileURLToPath(new URL('committer.js', import.meta.url));

/** Lets a process commit until it is dead. `stop` hears how many were acknowledged and says whether to kill it now. */
async function commitUntilDead(
  t: TestScope,
  folder: string,
  { crashAt = '', stop = (_acknowledged: number): boolean => false } = {},
): Promise<{ readonly last: number; readonly acknowledged: number; readonly signal: unknown }> {
  const child = spawn(process.execPath, [SCRIPT, folder, crashAt], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  let last = -1;
  let acknowledged = 0;
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith('ready')) continue;
    last = Number(line);
    if (stop(++acknowledged)) child.kill('SIGKILL');
  }
  const [, signal] = await exit;
  return { last, acknowledged, signal };
}

/** Opens what was left behind and judges it: all that was acknowledged is there, changes are whole, and no garbage stays. */
async function judge(folder: string, last: number): Promise<string | undefined> {
  const store = await openStore(folder, { reserveBytes: 0, segmentBytes: SEGMENT_BYTES });
  try {
    const { count, refs } = await readState(store);
    if (count <= last) return `${last} was acknowledged, and the count is ${count}`;
    const files = await readdir(join(folder, 'bodies', 'outbox-GLOBEX')).catch(() => []);
    const needed = new Set(refs.map(([, { segment }]) => `${segment}.seg`));
    if (!files.every(name => needed.has(name))) return `files ${files.join()}, needed ${[...needed].join()}`;
    return await complaint(store);
  } finally {
    await store.close();
  }
}

test('kill -9: nothing acknowledged is lost and no change is split, at 24 random instants', async t => {
  const folder = await storeFolder(t);
  const seed = Date.now() % 1_000_000;
  t.log(`seed ${seed}`);
  let state = seed;
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state;
  };
  let total = 0;
  for (let kill = 0; kill < 24; kill++) {
    const after = 1 + (random() % 120);
    const { last, acknowledged, signal } = await commitUntilDead(t, folder, { stop: count => count === after });
    t.is(signal, 'SIGKILL');
    t.is(await judge(folder, last), undefined, `kill ${kill} of seed ${seed}`);
    total += acknowledged;
  }
  t.log(`${total} changes were acknowledged`);
});

const POINTS: readonly CrashPoint[] = ['before-write', 'after-write', 'after-sync', 'after-commit', 'during-trim'];

for (const point of POINTS) {
  test(`crash ${point}: nothing acknowledged is lost, and the store goes on`, async t => {
    const folder = await storeFolder(t);
    for (const nth of [1, 2, 5]) {
      const { last, signal } = await commitUntilDead(t, folder, { crashAt: `${point}:${nth}` });
      t.is(signal, 'SIGKILL');
      t.is(await judge(folder, last), undefined, `passage ${nth}`);
    }
    const { last, acknowledged } = await commitUntilDead(t, folder, { stop: count => count === 20 });
    t.true(acknowledged >= 20);
    t.is(await judge(folder, last), undefined);
  });
}
