import test from 'ava';
import { forFiles } from '../../src/cli/at-once.js';
import { Deferred } from '../../src/client/deferred.js';

const MIB = 1024 * 1024;
const filesOf = (...sizes: number[]) => sizes.map(size => ({ size }));

/** Work that ends when it is told to. */
class Bench {
  readonly begun: number[] = [];
  readonly #ends: Deferred<string>[] = [];

  readonly work = (_file: object, index: number): Promise<string> => {
    this.begun.push(index);
    const end = new Deferred<string>();
    this.#ends[index] = end;
    return end.promise;
  };

  async end(index: number, error?: Error): Promise<void> {
    if (error) this.#ends[index]?.reject(error);
    else this.#ends[index]?.resolve(`result ${index}`);
    // What follows from it has its turn.
    await new Promise(resolve => setImmediate(resolve));
  }
}

test('files at once: what may not be under way beside another waits for it, and those behind it too', async t => {
  const bench = new Bench();
  const all = forFiles(filesOf(1, 2, 3), bench.work, (file, other) => file.size === 2 && other.size === 1);
  t.deepEqual(bench.begun, [0]);
  await bench.end(0);
  t.deepEqual(bench.begun, [0, 1, 2]);
  await bench.end(2);
  await bench.end(1);
  t.is((await all).length, 3);
});

test('files at once: eight small ones, and the next when one is done; the results are in order', async t => {
  const bench = new Bench();
  const all = forFiles(filesOf(...Array<number>(10).fill(1)), bench.work);
  t.deepEqual(bench.begun, [0, 1, 2, 3, 4, 5, 6, 7]);
  await bench.end(5);
  t.deepEqual(bench.begun.slice(8), [8]);
  for (const index of [9, 8, 7, 6, 4, 3, 2, 1, 0, 9]) await bench.end(index);
  t.deepEqual(
    await all,
    Array.from({ length: 10 }, (_, i) => `result ${i}`),
  );
});

test('files at once: a large one goes alone', async t => {
  const bench = new Bench();
  const all = forFiles(filesOf(1, 100 * MIB, 1, 20 * MIB, 20 * MIB), bench.work);
  t.deepEqual(bench.begun, [0]);
  await bench.end(0);
  t.deepEqual(bench.begun, [0, 1]);
  await bench.end(1);
  t.deepEqual(bench.begun, [0, 1, 2, 3]);
  await bench.end(2);
  t.deepEqual(bench.begun, [0, 1, 2, 3]);
  await bench.end(3);
  await bench.end(4);
  t.is((await all).length, 5);
});

test('files at once: after a failure none is begun, and it is told when those under way have ended', async t => {
  const bench = new Bench();
  let over = false;
  const all = forFiles(filesOf(...Array<number>(20).fill(1)), bench.work).finally(() => {
    over = true;
  });
  const failed = t.throwsAsync(all, { message: 'first' });
  await bench.end(3, new Error('first'));
  await bench.end(4, new Error('second'));
  t.is(bench.begun.length, 8);
  for (const index of [0, 1, 2, 5, 6]) await bench.end(index);
  t.false(over);
  await bench.end(7);
  await failed;
  t.deepEqual(await forFiles([], bench.work), []);
});
