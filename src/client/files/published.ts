import { lstat } from 'node:fs/promises';
import { PartClaim } from './part-claim.js';
import { PartFile } from './part-file.js';
import { besidePath } from './part-names.js';

/**
 * Removes what a call that was killed left beside a file that it had made: between naming the file and clearing up the disk may keep it waiting
 * for seconds. What is of a download under way stays, and so does what no call of ours left. Never throws: nothing but tidiness is lost.
 */
export async function clearPublished(path: string): Promise<void> {
  try {
    if (!(await isLeft(path))) return;
    const claim = await PartClaim.take(path);
    try {
      if (await isLeft(path)) await new PartFile(path).discard();
    } finally {
      await claim.release();
    }
  } catch {
    return;
  }
}

/** Whether what stands beside a file is of a part that is the file by now, under its own name too or no more. */
async function isLeft(path: string): Promise<boolean> {
  const beside = ['.part', '.part.json', '.part.lock'].map(suffix => besidePath(path, suffix));
  const [file, part, note, lock] = await Promise.all([path, ...beside].map(each => lstat(each).catch(() => undefined)));
  if (!file?.isFile() || (part && (part.ino !== file.ino || part.dev !== file.dev))) return false;
  // Whose the lock is comes out when it is taken.
  return note ? (await new PartFile(path).sidecar()) !== undefined : !part && lock !== undefined;
}
