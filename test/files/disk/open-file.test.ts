import { constants } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { BlockReader } from '../../../src/files/disk/block-reader.js';
import { BLOCK_BYTES, readBlocks, writeBlocks } from '../../../src/files/disk/blocks.js';
import { OpenFile } from '../../../src/files/disk/open-file.js';
import { WriteQueue } from '../../../src/files/disk/write-queue.js';
import { type TestScope, temporaryFolder } from '../../support/registry.js';

const { O_CREAT, O_RDONLY, O_RDWR } = constants;

const newFile = async (t: TestScope, direct = true): Promise<{ path: string; file: OpenFile }> => {
  const path = join(await temporaryFolder(t), 'file');
  return { path, file: await OpenFile.open(path, O_RDWR | O_CREAT, { mode: 0o600, direct }) };
};

const patterned = (length: number): Buffer => {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) + (i >> 16)) & 255;
  return bytes;
};

async function write(file: OpenFile, bytes: Buffer, chunk: number): Promise<void> {
  const queue = new WriteQueue((buffers, position) => file.write(buffers, position));
  for (let at = 0; at < bytes.length; at += chunk) {
    queue.push(bytes.subarray(at, at + chunk));
    await queue.ready();
  }
  await queue.flush();
}

async function readAll(file: OpenFile, range: { from: number; to: number }, past: boolean): Promise<Buffer> {
  const reader = new BlockReader(file, { ...range, past });
  const read: Buffer[] = [];
  for (let bytes = await reader.next(); bytes.length > 0; bytes = await reader.next()) {
    read.push(Buffer.from(bytes));
    if (read.reduce((sum, { length }) => sum + length, 0) === range.to - range.from) break;
  }
  reader.close();
  return Buffer.concat(read);
}

/** The descriptors of this process that are open past the page cache for a file, as the kernel says. */
async function directDescriptors(path: string): Promise<number> {
  let found = 0;
  for (const descriptor of await readdir('/proc/self/fd')) {
    if ((await readlink(`/proc/self/fd/${descriptor}`).catch(() => '')) !== path) continue;
    const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'utf8').catch(() => '');
    const flags = Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)?.[1] ?? '0', 8);
    if ((flags & (constants.O_DIRECT ?? 0)) !== 0) found++;
  }
  return found;
}

test.serial(
  'open file: what is written in chunks of any size is what is read, past the page cache and through it',
  async t => {
    const sizes = fc.oneof(
      fc.integer({ min: 1, max: 3 * BLOCK_BYTES }),
      fc.constantFrom(1, 4095, 4096, 4097, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES),
    );
    const property = fc.asyncProperty(sizes, fc.integer({ min: 1000, max: 400_000 }), async (size, chunk) => {
      const { path, file } = await newFile(t);
      const bytes = patterned(size);
      await write(file, bytes, chunk);
      const whole = { from: 0, to: size };
      const found = [await readAll(file, whole, true), await readAll(file, whole, false), await readFile(path)];
      file.close();
      return found.every(other => other.equals(bytes)) && readBlocks.plenty && writeBlocks.plenty;
    });
    await fc.assert(property, { numRuns: 40 });
    t.pass();
  },
);

test.serial('open file: whole blocks go past the page cache, small files do not', async t => {
  if (process.platform !== 'linux') return t.log('left out: only Linux tells how a file is open');
  const { path, file } = await newFile(t);
  await write(file, patterned(1000), 1000);
  t.is(await directDescriptors(path), 0);
  await write(file, patterned(2 * BLOCK_BYTES), 100_000);
  const found = await directDescriptors(path);
  if (found === 0) t.log(`left out: the file system of ${path} has no O_DIRECT`);
  else t.is(found, 1);
  file.close();
  t.is(await directDescriptors(path), 0);
});

test.serial('open file: one that may not be open so is not', async t => {
  const { path, file } = await newFile(t, false);
  const bytes = patterned(2 * BLOCK_BYTES);
  await write(file, bytes, 100_000);
  const block = readBlocks.take();
  t.is(await file.readPast(block, 0), undefined);
  readBlocks.give(block);
  t.is(process.platform === 'linux' ? await directDescriptors(path) : 0, 0);
  t.true((await readFile(path)).equals(bytes));
  file.close();
});

test.serial('open file: where the kernel refuses memory or places, all goes through the page cache', async t => {
  const { path, file } = await newFile(t);
  const taken = [readBlocks.take(), readBlocks.take(), readBlocks.take()];
  const first = taken.reduce((least, block) => (block.byteOffset < least.byteOffset ? block : least));
  // In the middle of a page, which no disk takes.
  const crooked = Buffer.from(first.buffer, first.byteOffset + 1, BLOCK_BYTES);
  patterned(BLOCK_BYTES).copy(crooked);
  await file.write([crooked], 0);
  t.true((await readFile(path)).equals(patterned(BLOCK_BYTES)));
  // From now on it is not asked again.
  t.is(await file.readPast(first, 0), undefined);
  file.close();
  const other = await OpenFile.open(path, O_RDONLY);
  t.is(await other.readPast(crooked, 0), undefined);
  t.is(await other.readPast(first, 1), undefined);
  other.close();
  for (const block of taken) readBlocks.give(block);
});

test.serial(
  'block reader: a part is read from its place on, and a file that is shorter than it should be ends early',
  async t => {
    const { file } = await newFile(t);
    const bytes = patterned(3 * BLOCK_BYTES + 5000);
    await write(file, bytes, BLOCK_BYTES);
    for (const past of [true, false]) {
      const part = await readAll(file, { from: 8192, to: 2 * BLOCK_BYTES + 7 }, past);
      t.true(part.equals(bytes.subarray(8192, 2 * BLOCK_BYTES + 7)));
      const short = await readAll(file, { from: 0, to: 8 * BLOCK_BYTES }, past);
      t.true(short.equals(bytes));
    }
    file.close();
  },
);

test.serial('block reader: who leaves early leaves no block behind', async t => {
  const { file } = await newFile(t);
  await write(file, patterned(3 * BLOCK_BYTES), BLOCK_BYTES);
  for (let i = 0; i < 100; i++) {
    const reader = new BlockReader(file, { from: 0, to: 3 * BLOCK_BYTES, past: true });
    await reader.next();
    reader.close();
  }
  const whole = await readAll(file, { from: 0, to: 3 * BLOCK_BYTES }, true);
  t.is(whole.length, 3 * BLOCK_BYTES);
  // One taken and given back lies where the reads that were under way are done with theirs.
  file.close();
  t.true(readBlocks.plenty);
});
