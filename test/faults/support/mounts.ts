import { execFile } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestScope } from '../../support/registry.js';

const run = (command: string, ...args: string[]): Promise<unknown> => promisify(execFile)(command, args);

/** A small file system of its own in the place of a folder, that can be filled up and made read-only. */
export class SmallDisk {
  readonly #folder: string;
  readonly #ballast: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#ballast = join(folder, 'ballast');
  }

  /** Throws what the system said when this user may not mount. Unmounted when the scope ends, after what was opened later. */
  static async mount(scope: TestScope, folder: string, mebibytes: number): Promise<SmallDisk> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'fedgate-test', folder);
    scope.teardown(() => run('umount', '--lazy', folder));
    return new SmallDisk(folder);
  }

  /** Why this user cannot mount; undefined: can. */
  static async unavailable(scope: TestScope, folder: string): Promise<string | undefined> {
    if (process.getuid?.() !== 0) return 'only root can mount a small disk';
    try {
      await SmallDisk.mount(scope, folder, 1);
      return undefined;
    } catch (error) {
      return `this system does not let us mount: ${(error as Error).message.trim()}`;
    }
  }

  /** Takes up all that is left. */
  async fill(): Promise<void> {
    const file = await open(this.#ballast, 'a');
    try {
      for (const size of [1024 * 1024, 64 * 1024, 4096]) await writeUntilFull(file, Buffer.alloc(size));
    } finally {
      await file.close();
    }
  }

  /** Gives it back. */
  async release(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  /** Fails while files are open for writing. */
  async readOnly(on: boolean): Promise<void> {
    await run('mount', '-o', `remount,${on ? 'ro' : 'rw'}`, this.#folder);
  }
}

async function writeUntilFull(file: Awaited<ReturnType<typeof open>>, bytes: Buffer): Promise<void> {
  try {
    for (;;) await file.appendFile(bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
