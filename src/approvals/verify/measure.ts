import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { describe, FedgateError } from '../../errors.js';

/** The bytes of a file, as they were when it was read from its beginning to its end. */
export interface Measured {
  readonly size: number;
  /** Undefined: not worked out, because the size is another than the one expected. */
  readonly sha256: string | undefined;
}

const CHUNK_BYTES = 1024 * 1024;

/**
 * Opens a file once and reads it through. Throws FILE_UNUSABLE for what is no regular file, and FILE_CHANGED when it was written to or replaced
 * meanwhile: then what was read is nothing that the file ever was.
 */
export async function measureFile(path: string, expectedSize?: number, options: OpenOptions = {}): Promise<Measured> {
  return await withFile(path, options, async (handle, size) => {
    if (expectedSize !== undefined && size !== expectedSize) return { size, sha256: undefined };
    const hash = createHash('sha256');
    let done = 0;
    await readThrough(path, handle, size, chunk => {
      hash.update(chunk);
      done += chunk.length;
      options.onProgress?.(done);
    });
    return { size, sha256: hash.digest('hex') };
  });
}

/** The content of a small file, under the same rules. Throws FILE_UNUSABLE when it is larger than `mostBytes`. */
export async function readWholeFile(path: string, mostBytes: number): Promise<Buffer> {
  return await withFile(path, {}, async (handle, size) => {
    if (size > mostBytes) throw unusable(path, `it is longer than ${mostBytes} bytes`);
    const chunks: Buffer[] = [];
    await readThrough(path, handle, size, chunk => chunks.push(Buffer.from(chunk)));
    return Buffer.concat(chunks);
  });
}

interface OpenOptions {
  /** Whether a symbolic link is refused. */
  readonly noLinks?: boolean;
  /** Told after each piece that was read: how many bytes there are by now. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

async function withFile<T>(
  path: string,
  { noLinks }: OpenOptions,
  use: (handle: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  // A pipe that nobody writes to would otherwise be waited for; on Windows there is neither flag.
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (noLinks ? (constants.O_NOFOLLOW ?? 0) : 0);
  const handle = await open(path, flags).catch(cause => {
    throw unusable(path, describe(cause), cause);
  });
  try {
    const before = await handle.stat({ bigint: true });
    if (!before.isFile()) throw unusable(path, 'it is not a regular file');
    const result = await use(handle, Number(before.size));
    const after = await handle.stat({ bigint: true });
    const named = await stat(path, { bigint: true }).catch(() => undefined);
    const same = (['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const).every(
      fact => before[fact] === after[fact] && before[fact] === named?.[fact],
    );
    if (!same) throw changed(path);
    return result;
  } finally {
    await handle.close();
  }
}

async function readThrough(
  path: string,
  handle: FileHandle,
  size: number,
  take: (chunk: Buffer) => void,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size + 1));
  let total = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) break;
    total += bytesRead;
    if (total > size) break;
    take(buffer.subarray(0, bytesRead));
  }
  if (total !== size) throw changed(path);
}

const unusable = (path: string, why: string, cause?: unknown): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${path}: ${why}`, cause === undefined ? {} : { cause });

const changed = (path: string): FedgateError =>
  new FedgateError('FILE_CHANGED', `${path}: it was changed or replaced while it was being read`);
