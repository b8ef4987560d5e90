import test from 'ava';
import { Change } from '../../src/store/store.js';
import { heldBytes } from '../support/memory.js';
import { bodyOf, opened, sha256, storeFolder, writeBody } from './support.js';

test('memory: does not grow with what passes through the store, nor with what it holds', async t => {
  const store = await opened(t, await storeFolder(t), { segmentBytes: 1024 * 1024 });
  const body = bodyOf(1, 64 * 1024);
  const digest = sha256(body);
  /** Writes and reads 32 MiB and keeps a tenth of it. */
  const pass = async (): Promise<void> => {
    for (let round = 0; round < 32; round++) {
      const changes = Array.from({ length: 16 }, (_, i) => {
        const change = new Change().put('rows', Buffer.from(`${i}`), Buffer.alloc(200));
        return { change, ref: writeBody(store, change, `outbox-${i % 40}`, body) };
      });
      await Promise.all(changes.map(({ change }) => store.commit(change)));
      for (const { ref } of changes) await store.read(ref, digest);
      const release = new Change();
      for (const { ref } of changes.slice(2)) release.release(ref);
      await store.commit(release);
    }
  };
  await pass();
  const before = await heldBytes();
  for (let i = 0; i < 3; i++) await pass();
  const grown = (await heldBytes()) - before;
  t.log(`${grown} bytes more after 96 MiB`);
  t.true(grown < 8 * 1024 * 1024, `${grown} bytes`);
});
