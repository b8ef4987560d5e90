import { setImmediate as tick } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import {
  BATCH_BYTES,
  WAITING_BYTES,
  WAITING_BYTES_TOGETHER,
  WriteQueue,
  WriteRoom,
  writeAll,
} from '../../src/files/write-queue.js';

/** A disk that is done with a write when it is told to be. */
class Disk {
  readonly bytes: Buffer[] = [];
  readonly writes: number[] = [];
  #pending: (() => void)[] = [];
  running = 0;

  readonly write = async (buffers: readonly Buffer[], position: number): Promise<void> => {
    this.running++;
    const expected = this.bytes.reduce((sum, { length }) => sum + length, 0);
    if (position !== expected) throw new Error(`a write at ${position} instead of ${expected}`);
    this.bytes.push(...buffers);
    this.writes.push(buffers.reduce((sum, { length }) => sum + length, 0));
    await new Promise<void>(resolve => this.#pending.push(resolve));
    this.running--;
  };

  async step(): Promise<void> {
    this.#pending.shift()?.();
    await tick();
  }
}

const chunk = (length: number): Buffer => Buffer.alloc(length, length & 255);

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.finally(() => {
    done = true;
  });
  await tick();
  return !done;
}

test('write queue: what comes is written once, in order, one write at a time, whatever the disk does', async t => {
  const lengths = fc.array(fc.integer({ min: 1, max: BATCH_BYTES }), { maxLength: 24 });
  const property = fc.asyncProperty(lengths, fc.array(fc.boolean()), async (sizes, steps) => {
    const disk = new Disk();
    const room = new WriteRoom();
    const queue = new WriteQueue(disk.write, room);
    const chunks = sizes.map((size, i) => Buffer.alloc(size, i));
    for (const [i, bytes] of chunks.entries()) {
      queue.push(bytes);
      if (steps[i % Math.max(1, steps.length)]) await disk.step();
      if (disk.running > 1) return false;
    }
    const flushed = queue.flush();
    while (await isPending(flushed)) await disk.step();
    return Buffer.concat(disk.bytes).equals(Buffer.concat(chunks)) && room.bytes === 0 && queue.next === sum(sizes);
  });
  await fc.assert(property, { numRuns: 60 });
  t.pass();
});

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);

test('write queue: what comes while the disk is at work goes with the next write, and who has too much waiting waits', async t => {
  const disk = new Disk();
  const queue = new WriteQueue(disk.write);
  for (let bytes = 0; bytes < WAITING_BYTES; bytes += BATCH_BYTES) {
    t.false(await isPending(queue.ready()));
    queue.push(chunk(BATCH_BYTES));
  }
  const ready = queue.ready();
  t.true(await isPending(ready));
  await disk.step();
  await ready;
  t.deepEqual(disk.writes, [BATCH_BYTES, WAITING_BYTES - BATCH_BYTES]);
});

test('write queue: with others that fill their common room each has a batch', async t => {
  const room = new WriteRoom();
  room.bytes = WAITING_BYTES_TOGETHER;
  const disk = new Disk();
  const queue = new WriteQueue(disk.write, room);
  queue.push(chunk(BATCH_BYTES));
  t.false(await isPending(queue.ready()));
  queue.push(chunk(BATCH_BYTES));
  t.true(await isPending(queue.ready()));
  await disk.step();
  await queue.ready();
  t.is(room.bytes, WAITING_BYTES_TOGETHER + BATCH_BYTES);
  await disk.step();
  t.is(room.bytes, WAITING_BYTES_TOGETHER);
});

test('write queue: a write that failed fails all that follow, and its room is free', async t => {
  const room = new WriteRoom();
  const queue = new WriteQueue(async () => {
    throw new Error('EIO');
  }, room);
  queue.push(chunk(BATCH_BYTES));
  await t.throwsAsync(queue.flush(), { message: 'EIO' });
  await t.throwsAsync(queue.ready(), { message: 'EIO' });
  queue.push(chunk(10));
  await t.throwsAsync(queue.flush(), { message: 'EIO' });
  queue.drop();
  t.is(room.bytes, 0);
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
