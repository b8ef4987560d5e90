import { randomBytes } from 'node:crypto';
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../errors.js';
import { ignoreMissing } from './bodies.js';

const NAME = 'owner';

/** Who owns a store. The start time tells a process from a later one with the same number. */
interface Owner {
  readonly pid: number;
  /** Clock ticks since the machine started, as /proc says; empty where there is no /proc. */
  readonly started: string;
}

/** A lock that ends with its process, however that ends. */
export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the store in a folder for this process. Throws STORE_LOCKED while a living process has it, this one included.
 * Processes must see each other in /proc: two containers that share a folder do not.
 */
export async function takeLock(folder: string): Promise<Lock> {
  const path = join(folder, NAME);
  const mine = `${process.pid} ${await startOf(process.pid)}\n`;
  const draft = join(folder, `${NAME}.${randomBytes(8).toString('hex')}`);
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    await claim(path, draft);
  } finally {
    await unlink(draft);
  }
  // A file that cannot be removed names an owner that will be dead.
  return { release: () => unlink(path).catch(() => undefined) };
}

/** Losing this race several times means that others keep winning it. */
const ATTEMPTS = 5;

async function claim(path: string, draft: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // A link is made by one process only, and the file it names is complete.
    const taken = await link(draft, path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
        return false;
      },
    );
    if (taken) return;
    const text = await readIfThere(path);
    if (text === undefined) continue;
    const owner = await aliveOwner(text);
    if (owner) throw locked(owner);
    await clear(path, text);
  }
  throw new FedgateError('STORE_LOCKED', 'the store is being opened by others');
}

/** Takes a dead owner's file away. Should it have become a living one's in between, that is put back. */
async function clear(path: string, dead: string): Promise<void> {
  const aside = `${path}.${randomBytes(8).toString('hex')}`;
  await rename(path, aside).catch(ignoreMissing);
  const text = await readIfThere(aside);
  if (text === undefined) return;
  if (text !== dead) await link(aside, path).catch(() => undefined);
  await unlink(aside);
}

const locked = ({ pid }: Owner): FedgateError =>
  new FedgateError('STORE_LOCKED', `the store is in use by process ${pid}`, { metadata: { pid: String(pid) } });

async function aliveOwner(text: string): Promise<Owner | undefined> {
  const [, pid, started] = /^([0-9]{1,10}) ([0-9]*)\n$/.exec(text) ?? [];
  if (pid === undefined || started === undefined) return undefined;
  const owner = { pid: Number(pid), started };
  if (!isAlive(owner.pid)) return undefined;
  return started === (await startOf(owner.pid)) ? owner : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Fields 3 and 22 of /proc/PID/stat: state and start. The name before them stands in brackets and may hold anything.
 * A process that was killed and that nobody has waited for is still listed, as a zombie: its start does not count.
 */
async function startOf(pid: number): Promise<string> {
  const stat = await readIfThere(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
  return fields[0] === 'Z' ? '' : (fields[19] ?? '');
}

const readIfThere = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);
