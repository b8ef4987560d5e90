import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { describe } from '../../src/errors.js';
import { temporaryFolder } from '../support/registry.js';

export const run = promisify(execFile);

/** A small file system of its own. Undefined where this process may not mount one; the log then says why. */
export async function smallDisk(t: ExecutionContext, bytes: number): Promise<string | undefined> {
  const folder = await temporaryFolder(t);
  return (await attempt(t, () => run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder])))
    ? unmountedAfter(t, folder)
    : undefined;
}

export interface FailingDisk {
  readonly folder: string;
  /** Replaces what is broken, and mounts it again. Nothing may have files of it open. */
  repair(): Promise<void>;
}

/** A file system that takes some megabytes; what comes then fails, because the disk below it has no more than that. */
export async function failingDisk(
  t: ExecutionContext,
  bytes = 6 * 1024 * 1024,
  size = '32M',
): Promise<FailingDisk | undefined> {
  const below = await smallDisk(t, bytes);
  if (!below) return undefined;
  const image = join(below, 'image');
  const folder = await temporaryFolder(t);
  const mount = (): Promise<unknown> => run('mount', ['-t', 'ext4', '-o', 'loop', image, folder]);
  const made = await attempt(t, async () => {
    await run('truncate', ['-s', size, image]);
    await run('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-J', 'size=4', image]);
    await mount();
  });
  if (!made) return undefined;
  unmountedAfter(t, folder);
  const repair = async (): Promise<void> => {
    await run('umount', [folder]);
    await run('mount', ['-o', 'remount,size=100m', below]);
    await mount();
  };
  return { folder, repair };
}

async function attempt(t: ExecutionContext, prepare: () => Promise<unknown>): Promise<boolean> {
  try {
    await prepare();
    return true;
  } catch (error) {
    t.log(`not tried, because no file system can be mounted here: ${describe(error)}`);
    t.pass();
    return false;
  }
}

function unmountedAfter(t: ExecutionContext, folder: string): string {
  t.teardown(() => run('umount', ['-l', folder]));
  return folder;
}
