import { randomBytes } from 'node:crypto';
import { readFile, readlink, rename, symlink, unlink } from 'node:fs/promises';
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
 *
 * The owner stands in the target of a symbolic link: it is made by one process only, complete, and needs no block of a disk that is full.
 */
export async function takeLock(folder: string): Promise<Lock> {
  const path = join(folder, NAME);
  const name = randomBytes(8).toString('hex');
  await claim(path, `${process.pid} ${await startOf(process.pid)} ${name}`);
  // A link that cannot be removed names an owner that will be dead, and until then one that gave the store up.
  return { release: () => unlink(path).catch(() => void givenUp.add(name)) };
}

/** Locks of this process that are over, whose links a failing disk kept. */
const givenUp = new Set<string>();

/** Losing this race several times means that others keep winning it. */
const ATTEMPTS = 5;

async function claim(path: string, mine: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await made(mine, path)) return;
    const text = await ownerIn(path);
    if (text === undefined) continue;
    const owner = await aliveOwner(text);
    if (owner) throw locked(owner);
    await clear(path, text);
  }
  throw new FedgateError('STORE_LOCKED', 'the store is being opened by others');
}

/** False when something is there. */
const made = (owner: string, path: string): Promise<boolean> =>
  symlink(owner, path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
      return false;
    },
  );

/** Takes a dead owner's link away. Should it have become a living one's in between, that is put back. */
async function clear(path: string, dead: string): Promise<void> {
  const aside = `${path}.${randomBytes(8).toString('hex')}`;
  await rename(path, aside).catch(ignoreMissing);
  const text = await ownerIn(aside);
  if (text === undefined) return;
  if (text !== dead) await made(text, path);
  await unlink(aside);
}

/** What stands there: in a link, or in the file that earlier versions made. */
const ownerIn = (path: string): Promise<string | undefined> =>
  readlink(path).catch((error: NodeJS.ErrnoException) => (error.code === 'EINVAL' ? readIfThere(path) : undefined));

const locked = ({ pid }: Owner): FedgateError =>
  new FedgateError('STORE_LOCKED', `the store is in use by process ${pid}`, { metadata: { pid: String(pid) } });

async function aliveOwner(text: string): Promise<Owner | undefined> {
  const [, pid, started, name = ''] = /^([0-9]{1,10}) ([0-9]*)(?: ([0-9a-f]{16}))?\n?$/.exec(text) ?? [];
  if (pid === undefined || started === undefined || givenUp.has(name)) return undefined;
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
