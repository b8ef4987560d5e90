import { join } from 'node:path';
import test from 'ava';
import { FedgateError } from '../../src/errors.js';
import { openStore } from '../../src/store/open.js';
import { type BodyRef, Change, type Store } from '../../src/store/store.js';
import { failingDisk } from './small-disk.js';
import { bodyOf, opened, sha256, writeBody } from './support.js';

const BODY_BYTES = 50_000;

/** Commits until the disk fails, and on for a few more tries. Answers what was stored and how the rest was refused. */
async function commitUntilRefused(store: Store, make: (number: number) => Change) {
  const reasons: string[] = [];
  let stored = 0;
  for (let number = 0; reasons.length < 5 && number < 10_000; number++) {
    try {
      await store.commit(make(number));
      stored++;
    } catch (error) {
      reasons.push(error instanceof FedgateError ? error.reason : String(error));
    }
  }
  return { stored, reasons };
}

const row = (number: number): Change => new Change().put('rows', Buffer.from(`${number}`), Buffer.alloc(9000, number));

test.serial(
  'failing disk: rows are refused with a reason, what is stored is read, and all of it is there later',
  async t => {
    const disk = await failingDisk(t);
    if (!disk) return;
    const folder = join(disk.folder, 'store');
    const store = await openStore(folder, { reserveBytes: 0 });
    const { stored, reasons } = await commitUntilRefused(store, row);
    t.log(`${stored} stored, then ${reasons.join(', ')}`);
    t.true(reasons.every(reason => ['STORE_FAILED', 'STORE_READ_ONLY', 'STORE_FULL'].includes(reason)));
    t.not(store.health.state, 'ok');
    t.truthy(await store.get('rows', Buffer.from('0')));
    await store.close();
    await disk.repair();
    const again = await opened(t, folder);
    t.is((await again.scan('rows', { limit: 10_000 })).length, stored);
    await again.commit(row(10_001));
    await again.close();
  },
);

test.serial('failing disk: bodies are refused, and those acknowledged are whole later', async t => {
  const disk = await failingDisk(t);
  if (!disk) return;
  const folder = join(disk.folder, 'store');
  const store = await openStore(folder, { reserveBytes: 0, segmentBytes: 1024 * 1024 });
  const refs: BodyRef[] = [];
  const { stored, reasons } = await commitUntilRefused(store, number => {
    const change = new Change();
    refs.push(writeBody(store, change, 'inbox', bodyOf(number, BODY_BYTES)));
    return change;
  });
  t.log(`${stored} stored, then ${reasons.join(', ')}`);
  t.true(reasons.every(reason => ['STORE_FAILED', 'STORE_READ_ONLY', 'STORE_FULL'].includes(reason)));
  await store.close();
  await disk.repair();
  const again = await opened(t, folder);
  for (const [number, ref] of refs.slice(0, stored).entries()) {
    t.is((await again.read(ref, sha256(bodyOf(number, BODY_BYTES)))).length, BODY_BYTES);
  }
  await again.close();
});
