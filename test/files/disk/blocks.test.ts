import test from 'ava';
import { BLOCK_BYTES, BlockPool, isAligned } from '../../../src/files/disk/blocks.js';

test('blocks: those that are kept lie apart, begin on a page, and are given out again', t => {
  const pool = new BlockPool(3);
  const taken = [pool.take(), pool.take(), pool.take()];
  for (const [i, block] of taken.entries()) block.fill(i + 1);
  for (const [i, block] of taken.entries()) {
    t.true(isAligned(block));
    t.is(block.length, BLOCK_BYTES);
    t.is(block.byteOffset % 4096, 0);
    t.true(block.every(byte => byte === i + 1));
  }
  const [first] = taken;
  if (!first) return t.fail();
  pool.give(first.subarray(0, 10));
  const again = pool.take();
  t.is(again.byteOffset, first.byteOffset);
  t.is(again.length, BLOCK_BYTES);
});

test('blocks: beyond those there are ordinary ones, which are not kept', t => {
  const pool = new BlockPool(2);
  t.true(pool.plenty);
  const kept = pool.take();
  t.false(pool.plenty);
  t.false(pool.scarce);
  pool.take();
  t.true(pool.scarce);
  const other = pool.take();
  t.false(isAligned(other));
  t.is(other.length, BLOCK_BYTES);
  pool.give(other);
  t.true(pool.scarce);
  pool.give(kept);
  t.false(pool.scarce);
  t.is(pool.take().byteOffset, kept.byteOffset);
});
