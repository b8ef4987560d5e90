import { randomBytes } from 'node:crypto';
import { open, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { FRESH_MS, FreshPieces } from '../../../src/files/content/fresh-pieces.js';
import { temporaryFolder } from '../../support/registry.js';

const state = async (path: string) => stat(path, { bigint: true });

async function datedBack(path: string): Promise<void> {
  const aSecondAgo = Date.now() / 1_000 - 1;
  await utimes(path, aSecondAgo, aSecondAgo);
}

test('fresh: a file stays so until it is written to, at once or later, or is another one', async t => {
  const path = join(await temporaryFolder(t), 'piece');
  const sha256 = randomBytes(32);
  const fresh = new FreshPieces();
  await writeFile(path, 'abc');
  await datedBack(path);
  fresh.add(sha256, await state(path));
  t.true(fresh.has(sha256, await state(path)));
  t.false(fresh.has(randomBytes(32), await state(path)));

  const file = await open(path, 'r+');
  await file.write(Buffer.from('x'), 0, 1, 1);
  await file.close();
  t.false(fresh.has(sha256, await state(path)));

  const { ino, size } = await state(path);
  await datedBack(path);
  const back = await state(path);
  fresh.add(sha256, back);
  t.false(fresh.has(sha256, { ino: ino + 1n, size, mtimeNs: back.mtimeNs }));
  t.false(fresh.has(sha256, { ino, size: size + 1n, mtimeNs: back.mtimeNs }));
});

test('fresh: a file that was touched just now is none, since it may be again without a trace', async t => {
  const path = join(await temporaryFolder(t), 'piece');
  await writeFile(path, 'abc');
  const fresh = new FreshPieces();
  fresh.add(randomBytes(32), await state(path));
  const sha256 = randomBytes(32);
  fresh.add(sha256, await state(path));
  t.false(fresh.has(sha256, await state(path)));
});

test('fresh: not for long, and not more of them than fit into little memory', t => {
  let now = Date.now();
  const fresh = new FreshPieces(() => now);
  const file = { ino: 1n, size: 3n, mtimeNs: BigInt(now) * 1_000_000n - 1_000_000_000n };
  const [first, second] = [randomBytes(32), randomBytes(32)] as const;
  fresh.add(first, file);
  now += FRESH_MS - 1;
  fresh.add(second, file);
  t.true(fresh.has(first, file));
  now += 1;
  t.false(fresh.has(first, file));
  t.true(fresh.has(second, file));
  for (let i = 0; i < 1_024; i++) fresh.add(randomBytes(32), file);
  t.false(fresh.has(second, file));
});
