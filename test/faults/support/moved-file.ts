import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';

/** Of files below 256 GiB. */
export const PIECE_BYTES = 4 * 1024 * 1024;

/** Writes a file of random bytes; returns its SHA-256. */
export async function writeRandomFile(path: string, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const block = Buffer.alloc(PIECE_BYTES);
  const file = await open(path, 'wx');
  try {
    for (let left = bytes; left > 0; left -= block.length) {
      const part = randomFillSync(block.subarray(0, Math.min(left, block.length)));
      hash.update(part);
      await file.write(part);
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES })) hash.update(chunk);
  return hash.digest('hex');
}

/** How many whole pieces a gateway has on its disk. Some of the newest may not count for it yet: a piece is named before it is synced. */
export async function piecesOnDisk(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  return names.filter(name => /\/pieces\/.*[0-9a-f]{64}$/.test(name)).length;
}
