import { createCipheriv, createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SharedFile } from '../client/index.js';
import type { DemoWorld } from './world.js';

/** A file of the demo on the disk. */
export interface DemoFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** Makes a file up that no compression makes smaller; the same on every call. */
export async function makeFile({ folder }: DemoWorld, name: string, bytes: number): Promise<DemoFile> {
  const path = join(folder, name);
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  await writeFile(path, cipher.update(Buffer.alloc(bytes)));
  return { path, bytes, sha256: await digestOf(path) };
}

/** ACME's program shares it with GLOBEX. */
export const shareFile = ({ acme }: DemoWorld, { path }: DemoFile): Promise<SharedFile> =>
  acme.client.share(path, { audience: { orgs: ['GLOBEX'] }, expiresMs: 3_600_000 });

/** GLOBEX's program fetches what it was told the id of. */
export async function fetchFile({ globex, folder }: DemoWorld, id: string, name: string): Promise<DemoFile> {
  const path = join(folder, name);
  const { share } = await globex.client.fetch(id, { to: path });
  return { path, bytes: share.size, sha256: await digestOf(path) };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}
