import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { describe, FedgateError } from '../errors.js';

/**
 * Writes a file piece by piece so that it is whole or absent: into a temporary file beside it, which takes its name when all is on
 * stable storage. Throws FILE_UNUSABLE, and whatever the source throws; the temporary file is then removed. Returns the bytes written.
 */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  onProgress: (bytes: number) => void,
): Promise<number> {
  const temporary = `${path}.${process.pid}.tmp`;
  const handle = await usable(path, () => open(temporary, 'w', 0o600));
  let bytes = 0;
  try {
    for await (const chunk of chunks) {
      await usable(path, () => handle.writeFile(chunk));
      bytes += chunk.length;
      onProgress(bytes);
    }
    await usable(path, () => finish(handle, temporary, path));
    return bytes;
  } catch (error) {
    await handle.close();
    await rm(temporary, { force: true });
    throw error;
  }
}

async function finish(handle: FileHandle, temporary: string, path: string): Promise<void> {
  await handle.sync();
  await handle.close();
  await rename(temporary, path);
}

async function usable<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be written: ${describe(cause)}`, { cause });
  }
}
