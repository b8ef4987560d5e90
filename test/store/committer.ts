import { writeSync } from 'node:fs';
import { parseCrashAt } from '../../src/store/crash.js';
import { key } from '../../src/store/keys.js';
import { openStore } from '../../src/store/open.js';
import { type BodyRef, Change } from '../../src/store/store.js';
import { BODY_BYTES, KEPT, readState, rowOf, SEGMENT_BYTES } from './committed.js';

/**
 * Run as a process: numbers changes on from where the store stands, a few at a time, and prints each number that is committed.
 * Each change has a row and a body, raises the count, and drops the row and body of an older one.
 */
const IN_FLIGHT = 8;

const [, , folder = '', crashAt] = process.argv;
const store = await openStore(folder, {
  reserveBytes: 0,
  segmentBytes: SEGMENT_BYTES,
  ...(crashAt && { crashAt: parseCrashAt(crashAt) }),
});
const state = await readState(store);
const refs = new Map<number, BodyRef>(state.refs);
let next = state.count;

async function commitNext(): Promise<void> {
  const number = next++;
  const change = new Change();
  const { body, row, ref } = rowOf(number, length => store.reserve('outbox-GLOBEX', length));
  change
    .write(ref, [body])
    .put('rows', key(number), row)
    .put('count', Buffer.from('n'), key(number + 1));
  refs.set(number, ref);
  const old = refs.get(number - KEPT);
  if (old) {
    change.remove('rows', key(number - KEPT)).release(old);
    refs.delete(number - KEPT);
  }
  await store.commit(change);
  writeSync(1, `${number}\n`);
}

writeSync(1, `ready ${BODY_BYTES}\n`);
await Promise.all(
  Array.from({ length: IN_FLIGHT }, async () => {
    while (true) await commitNext();
  }),
);
