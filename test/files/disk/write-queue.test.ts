import { setImmediate as tick } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { BLOCK_BYTES, BlockPool } from '../../../src/files/disk/blocks.js';
import { WAITING_BYTES, WriteQueue, writeAll } from '../../../src/files/disk/write-queue.js';

/** A disk that is done with a write when it is told to be. What it was given stays as it is until then only. */
class Disk {
  readonly writes: number[] = [];
  readonly #from: number;
  #content = Buffer.alloc(0);
  #pending: (() => void)[] = [];
  running = 0;

  constructor(from = 0) {
    this.#from = from;
  }

  get content(): Buffer {
    return this.#content;
  }

  readonly write = async (buffers: readonly Buffer[], position: number): Promise<void> => {
    this.running++;
    const expected = this.#from + this.#content.length;
    if (position !== expected) throw new Error(`a write at ${position} instead of ${expected}`);
    this.writes.push(buffers.reduce((sum, { length }) => sum + length, 0));
    await new Promise<void>(resolve => this.#pending.push(resolve));
    this.#content = Buffer.concat([this.#content, ...buffers]);
    this.running--;
  };

  async step(): Promise<void> {
    this.#pending.shift()?.();
    await tick();
  }
}

const chunk = (length: number): Buffer => Buffer.alloc(length, 7);

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.finally(() => {
    done = true;
  });
  await tick();
  return !done;
}

test('write queue: what comes is written once, in order, one write at a time, whatever the disk does', async t => {
  const lengths = fc.array(fc.integer({ min: 1, max: BLOCK_BYTES }), { maxLength: 24 });
  const property = fc.asyncProperty(lengths, fc.array(fc.boolean()), async (sizes, steps) => {
    const disk = new Disk();
    const pool = new BlockPool(4);
    const queue = new WriteQueue(disk.write, pool);
    const chunks = sizes.map((size, i) => Buffer.alloc(size, i));
    for (const [i, bytes] of chunks.entries()) {
      queue.push(bytes);
      if (steps[i % Math.max(1, steps.length)]) await disk.step();
      if (disk.running > 1) return false;
    }
    const flushed = queue.flush();
    while (await isPending(flushed)) await disk.step();
    return disk.content.equals(Buffer.concat(chunks)) && !pool.scarce && queue.next === sum(sizes);
  });
  await fc.assert(property, { numRuns: 60 });
  t.pass();
});

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);

test('write queue: a chunk may change as soon as it was pushed', async t => {
  const disk = new Disk();
  const queue = new WriteQueue(disk.write);
  const bytes = chunk(10);
  queue.push(bytes);
  bytes.fill(0);
  const flushed = queue.flush();
  await disk.step();
  await flushed;
  t.deepEqual(disk.content, chunk(10));
});

test('write queue: blocks lie at multiples of their size, also behind a place in the middle and a flush', async t => {
  const disk = new Disk(100);
  const queue = new WriteQueue(disk.write);
  queue.seek(100);
  queue.push(chunk(BLOCK_BYTES));
  await disk.step();
  queue.push(chunk(BLOCK_BYTES));
  await disk.step();
  const flushed = queue.flush();
  await disk.step();
  await flushed;
  queue.push(chunk(BLOCK_BYTES));
  await disk.step();
  const rest = BLOCK_BYTES - 100;
  t.deepEqual(disk.writes, [rest, BLOCK_BYTES, 100, rest]);
});

test('write queue: what comes while the disk is at work goes with the next write, and who has too much waiting waits', async t => {
  const disk = new Disk();
  const queue = new WriteQueue(disk.write, new BlockPool(24));
  for (let bytes = 0; bytes < WAITING_BYTES; bytes += BLOCK_BYTES) {
    t.false(await isPending(queue.ready()));
    queue.push(chunk(BLOCK_BYTES));
  }
  const ready = queue.ready();
  t.true(await isPending(ready));
  await disk.step();
  await ready;
  t.deepEqual(disk.writes, [BLOCK_BYTES, WAITING_BYTES - BLOCK_BYTES]);
});

test('write queue: when others have all blocks, one is written and one waits', async t => {
  const pool = new BlockPool(1);
  pool.take();
  const disk = new Disk();
  const queue = new WriteQueue(disk.write, pool);
  queue.push(chunk(BLOCK_BYTES));
  t.false(await isPending(queue.ready()));
  queue.push(chunk(BLOCK_BYTES));
  t.true(await isPending(queue.ready()));
  await disk.step();
  await queue.ready();
  await disk.step();
  t.deepEqual(disk.content, chunk(2 * BLOCK_BYTES));
});

test('write queue: ten thousand chunks of a byte take the block that they fill, and nothing else', async t => {
  const pool = new BlockPool(2);
  const disk = new Disk();
  const queue = new WriteQueue(disk.write, pool);
  for (let i = 0; i < 10_000; i++) queue.push(chunk(1));
  t.is(disk.running, 0);
  pool.take();
  t.true(pool.scarce);
  const flushed = queue.flush();
  await disk.step();
  await flushed;
  t.false(pool.scarce);
  t.deepEqual(disk.content, chunk(10_000));
});

test('write queue: a write that failed fails all that follow, and its blocks are free', async t => {
  const pool = new BlockPool(1);
  const queue = new WriteQueue(async () => {
    throw new Error('EIO');
  }, pool);
  queue.push(chunk(BLOCK_BYTES));
  await t.throwsAsync(queue.flush(), { message: 'EIO' });
  await t.throwsAsync(queue.ready(), { message: 'EIO' });
  queue.push(chunk(10));
  t.true(pool.scarce);
  await t.throwsAsync(queue.flush(), { message: 'EIO' });
  queue.drop();
  t.false(pool.scarce);
});

test('writeAll: goes on where a short write stopped', async t => {
  const written: Buffer[] = [];
  await writeAll(
    async buffers => {
      const some = Buffer.concat(buffers).subarray(0, 3);
      written.push(some);
      return some.length;
    },
    [Buffer.from('ab'), Buffer.from('cdef'), Buffer.from('g')],
    5,
  );
  t.is(Buffer.concat(written).toString(), 'abcdefg');
});
