import test from 'ava';
import { IndexQueue } from '../../../src/files/content/index-queue.js';
import type { IndexView } from '../../../src/files/content/index-view.js';
import { MemoryStore } from '../../support/memory-store.js';
import { refused } from '../../support/reasons.js';

const digest = (fill: number): Buffer => Buffer.alloc(32, fill);

function openIndex() {
  const store = new MemoryStore();
  const freed: string[] = [];
  const index = new IndexQueue(
    store,
    () => undefined,
    pieces => freed.push(...pieces.map(piece => piece.toString('hex'))),
  );
  return { store, index, freed };
}

const addReference = async (view: IndexView): Promise<number> => {
  const references = ((await view.piece(digest(1)))?.references ?? 0) + 1;
  view.putPiece(digest(1), { length: 10, references, sentBy: [] });
  return references;
};

test('index: steps see what those before them wrote, and what waits shares a commit', async t => {
  const { store, index } = openIndex();
  const seen = await Promise.all(Array.from({ length: 100 }, () => index.change(addReference)));
  t.deepEqual(
    seen,
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  t.is(store.commits, 1);
});

test('index: a step that throws writes nothing, and those beside it are not touched by that', async t => {
  const { index } = openIndex();
  const problem = new Error('no');
  const failing = index.change(async view => {
    await addReference(view);
    view.after(() => t.fail('it was not committed'));
    throw problem;
  });
  const [first, second] = [index.change(addReference), index.change(addReference)];
  t.is(await t.throwsAsync(() => failing), problem);
  t.deepEqual([await first, await second], [1, 2]);
});

test('index: when a commit fails every step of it fails, and the next ones start from what is committed', async t => {
  const { store, index } = openIndex();
  await index.change(addReference);
  store.failures = 1;
  let after = 0;
  const steps = [1, 2, 3].map(() =>
    index.change(view => {
      view.after(() => after++);
      return addReference(view);
    }),
  );
  for (const step of steps) await refused(t, 'STORE_FAILED', () => step);
  t.is(after, 0);
  t.is(await index.change(addReference), 2);
});

test('index: a step that only reads commits nothing', async t => {
  const { store, index } = openIndex();
  t.is(await index.change(view => view.piece(digest(1))), undefined);
  t.is(store.commits, 0);
});

test('index: a step of its own finds everything before it committed', async t => {
  const { store, index } = openIndex();
  void index.change(addReference);
  const alone = index.alone(async view => {
    t.is(store.commits, 1);
    return await addReference(view);
  });
  const behind = index.change(addReference);
  t.deepEqual([await alone, await behind], [2, 3]);
  t.is(store.commits, 3);
});

test('index: pieces that nothing refers to any more are told of when that is committed', async t => {
  const { store, index, freed } = openIndex();
  await index.change(addReference);
  await index.change(addReference);
  await index.change(view => view.dropPiece(digest(1)));
  t.deepEqual(freed, []);
  store.failures = 1;
  await refused(t, 'STORE_FAILED', () => index.change(view => view.dropPiece(digest(1))));
  t.deepEqual(freed, []);
  await index.change(view => view.dropPiece(digest(1)));
  await index.idle();
  t.deepEqual(freed, [digest(1).toString('hex')]);
});
