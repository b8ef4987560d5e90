import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';

/** Opens the rows of a store that nobody uses as LMDB has them. */
export async function withRawRows<T>(
  folder: string,
  use: (env: RootDatabase<Buffer, Buffer>) => Promise<T>,
): Promise<T> {
  const env = open<Buffer, Buffer>({
    path: join(folder, 'rows'),
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
  });
  try {
    return await use(env);
  } finally {
    await env.close();
  }
}

/** Flips a bit in the middle of what is stored of rows. */
export const damageRows = (folder: string, table: string, ...keys: readonly Buffer[]): Promise<void> =>
  withRawRows(folder, async env => {
    for (const key of keys) {
      const at = Buffer.concat([Buffer.from(`${table}\0`), key]);
      const stored = env.getBinary(at);
      if (!stored) throw new RangeError('no such row');
      const flipped = Buffer.from(stored);
      const middle = flipped.length >> 1;
      flipped.writeUInt8(flipped.readUInt8(middle) ^ 1, middle);
      await env.put(at, flipped);
    }
  });
