import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FedgateError } from '../errors.js';

const MAGIC = 0xbeefc0de;
/** Where LMDB's head of a meta page keeps what is looked at here. */
const AT = { magic: 24, pageBytes: 48, lastPage: 144, transaction: 152, end: 160 } as const;

interface Head {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: bigint;
}

/**
 * Looks at LMDB's file before LMDB does, which maps it: touching a page behind the end of a cut file kills the process.
 * Returns false when there is no file, or an empty one. Throws STORE_DAMAGED when it is not whole.
 */
export async function checkRowsFile(folder: string, readOnly: boolean): Promise<boolean> {
  const path = join(folder, 'data.mdb');
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (!file) return false;
  try {
    const { size } = await file.stat();
    if (size === 0) return false;
    const bytes = Buffer.alloc(AT.end);
    const headAt = async (at: number): Promise<Head | undefined> =>
      (await file.read(bytes, 0, AT.end, at)).bytesRead === AT.end ? headOf(bytes) : undefined;
    const first = await headAt(0);
    const second = await headAt(first?.pageBytes ?? 4096);
    if (!first || !second) throw damaged('rows/data.mdb does not begin as it should');
    const newest = first.transaction > second.transaction ? first : second;
    const whole = (newest.lastPage + 1) * newest.pageBytes;
    // The last pages may be free ones that were never written. Whether they are is found out where a crash does no harm.
    if (size < whole && !(await survivesUse(folder, readOnly))) {
      throw damaged(`rows/data.mdb was cut: it has ${size} of ${whole} bytes`);
    }
    return true;
  } finally {
    await file.close();
  }
}

export const damaged = (what: string, cause?: unknown): FedgateError =>
  new FedgateError('STORE_DAMAGED', `the store is damaged: ${what}`, { cause });

function headOf(bytes: Buffer): Head | undefined {
  const pageBytes = bytes.readUInt32LE(AT.pageBytes);
  if (bytes.readUInt32LE(AT.magic) !== MAGIC || pageBytes < 512 || pageBytes > 65_536) return undefined;
  return {
    pageBytes,
    lastPage: Number(bytes.readBigUInt64LE(AT.lastPage)),
    transaction: bytes.readBigUInt64LE(AT.transaction),
  };
}

/** Reads all rows in another process and, where rows are to be written, looks through what writing looks through. */
async function survivesUse(folder: string, readOnly: boolean): Promise<boolean> {
  const script = fileURLToPath(new URL('read-all-rows.js', import.meta.url));
  const child = spawn(process.execPath, [script, folder, readOnly ? 'read' : 'write'], { stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  return code === 0;
}
