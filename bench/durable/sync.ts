import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const WRITE_BYTES = 1024;
const WARMUP_WRITES = 20;

/** Times of single appends of 1 KiB with an fdatasync each, milliseconds: what the disk asks for one durable step. */
export async function measureSyncs(writes: number): Promise<number[]> {
  const folder = await mkdtemp(join(tmpdir(), 'fedgate-bench-sync-'));
  const file = await open(join(folder, 'file'), 'a');
  const bytes = Buffer.alloc(WRITE_BYTES, 'x');
  const times: number[] = [];
  try {
    for (let i = 0; i < writes + WARMUP_WRITES; i++) {
      const from = performance.now();
      await file.write(bytes);
      await file.datasync();
      if (i >= WARMUP_WRITES) times.push(performance.now() - from);
    }
    return times;
  } finally {
    await file.close();
    await rm(folder, { recursive: true, force: true });
  }
}
