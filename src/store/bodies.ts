import { constants, fdatasync, fsync, read, writev } from 'node:fs';
import { mkdir, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FedgateError } from '../errors.js';
import { FileCache } from './file-cache.js';
import type { SegmentId } from './segments.js';
import type { BodyRef, Change } from './store.js';

const syncData = promisify(fdatasync);

/** Open files kept at hand, for each of writing and reading: what a gateway with some tens of busy peers uses at once. */
const OPEN_FILES = 32;

const SUFFIX = '.seg';

/** Parts that lie one after the other in a file. */
interface Run {
  readonly offset: number;
  end: number;
  readonly parts: Buffer[];
}

/** The files that bodies are in: `LOG/NUMBER.seg`. Bytes once written never change. */
export class Bodies {
  readonly #folder: string;
  readonly #writers = new FileCache(constants.O_RDWR | constants.O_CREAT, OPEN_FILES);
  readonly #readers = new FileCache(constants.O_RDONLY, OPEN_FILES);
  /** Files whose entry in their folder is on stable storage. */
  readonly #entered = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  path({ log, segment }: SegmentId): string {
    return join(this.#folder, log, `${segment}${SUFFIX}`);
  }

  /** Writes bodies, one `writev` for each stretch of a segment, and calls `written` before all of it is synced. */
  async write(bodies: Change['bodies'], written: () => void): Promise<void> {
    const files = new Map<string, { readonly id: SegmentId; readonly runs: Run[] }>();
    for (const { ref, parts } of bodies) {
      const path = this.path(ref);
      const file = files.get(path) ?? { id: ref, runs: [] };
      files.set(path, file);
      addToRuns(file.runs, ref, parts);
    }
    await settled(files, async ([path, { id, runs }]) => {
      if (!this.#entered.has(path)) await mkdir(join(this.#folder, id.log), { recursive: true, mode: 0o700 });
      await this.#writers.use(path, async fd => {
        for (const run of runs) await writeAll(fd, run.parts, run.offset);
      });
    });
    written();
    await settled(files, async ([path, { id }]) => {
      await this.#writers.use(path, syncData);
      await this.#enter(path, id.log);
    });
  }

  /** Throws BODY_UNREADABLE when the file is not there or too short; what it says otherwise is for the caller to check. */
  async read(ref: BodyRef): Promise<Buffer> {
    const body = Buffer.allocUnsafe(ref.length);
    try {
      await this.#readers.use(this.path(ref), fd => readAll(fd, body, ref.offset));
    } catch (error) {
      if (error instanceof FedgateError) throw error;
      throw new FedgateError('BODY_UNREADABLE', `body ${nameOf(ref)} cannot be read`, { cause: error });
    }
    return body;
  }

  /** Forgets the open files of segments, so that the next write opens them anew. */
  forget(bodies: Iterable<SegmentId>): void {
    for (const id of bodies) {
      const path = this.path(id);
      this.#writers.evict(path);
      this.#readers.evict(path);
      this.#entered.delete(path);
    }
  }

  /** Removes the file of a segment, if there is one. */
  async remove(id: SegmentId): Promise<void> {
    this.forget([id]);
    await unlink(this.path(id)).catch(ignoreMissing);
  }

  /** All segment files. Whatever else lies there is not looked at. */
  async list(): Promise<SegmentId[]> {
    const found: SegmentId[] = [];
    for (const log of await readdir(this.#folder).catch(() => [])) {
      for (const name of await readdir(join(this.#folder, log)).catch(() => [])) {
        if (/^[1-9][0-9]*\.seg$/.test(name)) found.push({ log, segment: Number(name.slice(0, -SUFFIX.length)) });
      }
    }
    return found;
  }

  async close(): Promise<void> {
    await this.#writers.close();
    await this.#readers.close();
  }

  /** A new file lasts only once its folder is synced, and a new folder once its own parent is. */
  async #enter(path: string, log: string): Promise<void> {
    if (this.#entered.has(path)) return;
    await syncFolder(join(this.#folder, log));
    await syncFolder(this.#folder);
    this.#entered.add(path);
  }
}

/** Does all side by side, and throws only when none is under way any more. */
async function settled<T>(items: Iterable<T>, run: (item: T) => Promise<void>): Promise<void> {
  for (const outcome of await Promise.allSettled(Array.from(items, run))) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

export const nameOf = ({ log, segment, offset, length }: BodyRef): string => `${log}/${segment}@${offset}+${length}`;

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await promisify(fsync)(folder.fd);
  } finally {
    await folder.close();
  }
}

export function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

function addToRuns(runs: Run[], ref: BodyRef, parts: readonly Buffer[]): void {
  const last = runs.at(-1);
  if (last?.end === ref.offset) {
    last.parts.push(...parts);
    last.end += ref.length;
  } else runs.push({ offset: ref.offset, end: ref.offset + ref.length, parts: [...parts] });
}

const writeParts = (fd: number, parts: readonly Buffer[], at: number): Promise<number> =>
  new Promise((resolve, reject) => {
    writev(fd, parts, at, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });

/** A write may take only a part, so it goes on with what is left. */
async function writeAll(fd: number, parts: readonly Buffer[], at: number): Promise<void> {
  let left = parts.filter(part => part.length > 0);
  let offset = at;
  while (left.length > 0) {
    let taken = await writeParts(fd, left, offset);
    offset += taken;
    const index = left.findIndex(part => {
      if (taken < part.length) return true;
      taken -= part.length;
      return false;
    });
    if (index < 0) return;
    left = left.slice(index);
    if (taken > 0) left[0] = (left[0] as Buffer).subarray(taken);
  }
}

async function readAll(fd: number, into: Buffer, at: number): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const bytes = await new Promise<number>((resolve, reject) => {
      read(fd, into, done, into.length - done, at + done, (error, count) => (error ? reject(error) : resolve(count)));
    });
    if (bytes === 0) throw new FedgateError('BODY_UNREADABLE', `the file ends ${into.length - done} bytes too early`);
    done += bytes;
  }
}
