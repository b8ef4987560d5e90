import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';

export interface SizedFile {
  readonly path: string;
  readonly bytes: number;
}

/** A file to be sent. */
export interface SourceFile extends SizedFile {
  /** Hexadecimal. */
  readonly sha256: string;
}

const WRITE_BYTES = 4 * 1024 * 1024;

/** A file of random bytes, so that no two pieces are alike; nobody can save anything by knowing some of them. */
export async function writeRandomFile(path: string, bytes: number): Promise<SourceFile> {
  const hash = createHash('sha256');
  const keystream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16));
  const file = await open(path, 'w');
  try {
    for (let written = 0; written < bytes; written += WRITE_BYTES) {
      const chunk = keystream.update(Buffer.alloc(Math.min(WRITE_BYTES, bytes - written)));
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { path, bytes, sha256: hash.digest('hex') };
}

/** SHA-256 of a file, hexadecimal. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: WRITE_BYTES })) hash.update(chunk);
  return hash.digest('hex');
}

/** A file of zeros that takes no room. */
export async function writeSparseFile(path: string, bytes: number): Promise<SizedFile> {
  const file = await open(path, 'w');
  await file.truncate(bytes);
  await file.close();
  return { path, bytes };
}
