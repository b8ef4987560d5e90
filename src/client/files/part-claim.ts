import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { describe, FedgateError } from '../../errors.js';
import { besidePath, NO_LINKS, readBeside } from './part-names.js';

const claimSchema = z.strictObject({
  version: z.literal(1),
  token: z.string(),
  pid: z.int().positive(),
  /** When that process began, as the system counts. Empty: it does not tell. */
  started: z.string(),
});

type Claim = z.output<typeof claimSchema>;

/** Those of this process that are not over. */
const own = new Set<string>();
/** Others may take it, or give it back, between two looks. */
const MAX_TRIES = 10;

/**
 * Says that a call fetches to a path: `<path>.part.lock`, for as long as it does. Each call trusts what it wrote itself, so two that write one
 * part would make a file with a hole in it of what the one cut off and the other had written. One that a dead process left does not count.
 */
export class PartClaim {
  readonly #path: string;
  readonly #lock: string;
  readonly #token = randomUUID();

  private constructor(path: string) {
    this.#path = path;
    this.#lock = besidePath(path, '.part.lock');
  }

  /** Throws FILE_UNUSABLE when another call fetches to the path, or nothing can be written there. Whoever took it gives it back. */
  static async take(path: string): Promise<PartClaim> {
    const claim = new PartClaim(path);
    await claim.#usable(() => claim.#take());
    return claim;
  }

  /** Throws FILE_UNUSABLE when somebody else has taken it, who did not know of us. */
  async check(): Promise<void> {
    const there = await read(this.#lock);
    if (there?.token !== this.#token) throw busy(this.#path, there?.pid);
  }

  async release(): Promise<void> {
    const there = await read(this.#lock).catch(() => undefined);
    if (there?.token === this.#token) await rm(this.#lock, { force: true }).catch(() => undefined);
    own.delete(this.#token);
  }

  async #take(): Promise<void> {
    const text = `${JSON.stringify(await this.#claim())}\n`;
    own.add(this.#token);
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        if (await this.#place(text)) return;
        const there = await read(this.#lock);
        if (there && (await isAlive(there))) throw busy(this.#path, there.pid);
        if (there) await this.#remove(there);
      }
      throw busy(this.#path, undefined);
    } catch (error) {
      own.delete(this.#token);
      throw error;
    }
  }

  async #claim(): Promise<Claim> {
    return { version: 1, token: this.#token, pid: process.pid, started: await startOf(process.pid) };
  }

  /** It is there with all that it says, or not at all. False: another one is. */
  async #place(text: string): Promise<boolean> {
    const temporary = this.#aside();
    try {
      await writeFile(temporary, text, { flag: 'wx', mode: 0o600 });
      try {
        await link(temporary, this.#lock);
      } catch (error) {
        if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
        await writeFile(this.#lock, text, { flag: 'wx', mode: 0o600 });
      }
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Removes one that a dead process left. What somebody else put there meanwhile is put back. */
  async #remove(dead: Claim): Promise<void> {
    const aside = this.#aside();
    try {
      await rename(this.#lock, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    if ((await read(aside))?.token !== dead.token) await link(aside, this.#lock).catch(() => undefined);
    await rm(aside, { force: true });
  }

  #aside(): string {
    return besidePath(this.#path, `.part.lock.${randomUUID().slice(0, 8)}`);
  }

  async #usable(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      if (cause instanceof FedgateError) throw cause;
      throw new FedgateError('FILE_UNUSABLE', `${this.#path}: cannot be written: ${describe(cause)}`, { cause });
    }
  }
}

/** Undefined: there is none. Throws FILE_UNUSABLE when something else is there. */
async function read(lock: string): Promise<Claim | undefined> {
  let text: string;
  try {
    text = await readBeside(lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return claimSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `${lock}: is there already, and is not ours`, { cause });
  }
}

async function isAlive({ pid, token, started }: Claim): Promise<boolean> {
  if (pid === process.pid && started === (await startOf(pid))) return own.has(token);
  try {
    process.kill(pid, 0);
  } catch (error) {
    // One of another user is there all the same.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  // Its number may be that of another process by now.
  return (await startOf(pid)) === started;
}

/** Field 22 of proc_pid_stat(5); the name in field 2 may hold anything, brackets too. Empty where there is no such file. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

const busy = (path: string, pid: number | undefined): FedgateError =>
  new FedgateError(
    'FILE_UNUSABLE',
    `${path}: another call fetches to it${pid === undefined ? '' : ` (process ${pid})`}; wait for it, or name another path`,
  );
