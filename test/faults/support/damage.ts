import { open, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from './random.js';

/** What disks do to files that nobody writes to. */

/** The files of a folder that the check accepts and that hold something, by path. */
export async function filesOf(folder: string, accepts: (path: string) => boolean): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
    .filter(accepts)
    .sort();
  const sizes = await Promise.all(paths.map(path => stat(path)));
  return paths.filter((_, i) => (sizes[i]?.size ?? 0) > 0);
}

/** Flips one bit of a file, in the bytes from a share of it to another. */
export async function flipBit(path: string, random: Random, [from, to] = [0, 1]): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    const at = Math.min(size - 1, random.between(Math.floor(size * from), Math.floor(size * to)));
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << random.between(0, 7));
    await file.write(byte, 0, 1, at);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Cuts off the end of a file, from a random place of its last part on. */
export async function cutShort(path: string, random: Random): Promise<void> {
  const { size } = await stat(path);
  await truncate(path, random.between(Math.floor(size / 2), size - 1));
}
