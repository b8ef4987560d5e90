import test from 'ava';
import { readRange } from '../../src/files/fetch/range.js';
import type { Manifest } from '../../src/files/types.js';

const MIB = 1024 * 1024;
const digest = Buffer.alloc(32);
const manifest: Manifest = {
  size: 2 * MIB,
  pieceSize: MIB,
  sha256: digest,
  merkleRoot: digest,
  pieces: Buffer.alloc(64),
};

/** Pieces that turn out to be wrong behind their last byte. */
async function* rotten(_index: number, offset: number): AsyncGenerator<Buffer> {
  yield Buffer.alloc(MIB - offset);
  throw new Error('it is not what was written');
}

async function readAll(range: { from: number; to: number }): Promise<number> {
  let bytes = 0;
  for await (const chunk of readRange(range, manifest, rotten)) bytes += chunk.length;
  return bytes;
}

test('range: what a piece has to say behind its last byte is heard, also of the last one', async t => {
  await t.throwsAsync(readAll({ from: 0, to: 2 * MIB }), { message: 'it is not what was written' });
  await t.throwsAsync(readAll({ from: MIB + 5, to: 2 * MIB }), { message: 'it is not what was written' });
});

test('range: that ends within a piece is over there', async t => {
  t.is(await readAll({ from: 10, to: MIB - 1 }), MIB - 11);
});
