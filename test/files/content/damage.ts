import { open } from 'node:fs/promises';
import { pathOf } from './support.js';

/** Flips a bit in the middle of a piece file. */
export async function flip(folder: string, digest: Buffer): Promise<void> {
  const file = await open(pathOf(folder, digest), 'r+');
  const byte = Buffer.alloc(1);
  const at = Math.floor((await file.stat()).size / 2);
  await file.read(byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8() ^ 1);
  await file.write(byte, 0, 1, at);
  await file.close();
}
