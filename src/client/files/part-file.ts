import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { describe, FedgateError } from '../../errors.js';
import { WriteQueue, writeAll } from '../../files/disk/write-queue.js';
import { writeFileAtomically } from '../../identity/files.js';
import { besidePath, NO_LINKS, readBeside } from './part-names.js';

/** What stands beside a part, so that a later call knows what it is a part of. */
const sidecarSchema = z.strictObject({
  version: z.literal(1),
  share: z.string(),
  /** Empty: not known yet, and nothing was fetched. */
  manifestSha256: z.string(),
  downloadId: z.string().regex(/^[0-9a-f]{32}$/),
});

export type Sidecar = z.output<typeof sidecarSchema>;

const NO_FOLLOW = constants.O_NOFOLLOW ?? 0;

/**
 * A file on its way: `<path>.part` with its bytes and `<path>.part.json` with what they are of, both 0600, beside the file that is to be.
 * The file itself appears when all of it is there.
 */
export class PartFile {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #queue = this.#newQueue();

  /** `path`: of the file that is to be. */
  constructor(path: string) {
    this.#path = path;
  }

  get #part(): string {
    return besidePath(this.#path, '.part');
  }

  get #note(): string {
    return besidePath(this.#path, '.part.json');
  }

  /** What an earlier call left. Undefined: nothing, or nothing that is of use. */
  async sidecar(): Promise<Sidecar | undefined> {
    try {
      return sidecarSchema.parse(JSON.parse(await readBeside(this.#note)));
    } catch {
      return undefined;
    }
  }

  /** Opens what an earlier call left; returns how many bytes it has, none when there is nothing. Throws FILE_UNUSABLE. */
  async resume(): Promise<number> {
    return this.#usable(async () => {
      const handle = await open(this.#part, constants.O_RDWR | NO_FOLLOW).catch(error => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      });
      if (!handle) return 0;
      this.#handle = handle;
      const { size, uid, nlink } = await handle.stat().then(stats => {
        if (!stats.isFile()) throw new Error('it is no regular file');
        return stats;
      });
      // Somebody else's file, or one with another name, would show what we write to others.
      if (nlink !== 1 || (process.getuid && uid !== process.getuid())) throw new Error('it is not ours alone');
      return size;
    });
  }

  /**
   * Begins anew: what an earlier call left is removed, so that another process that writes it does not write into ours. Throws
   * FILE_UNUSABLE when something is there that no call of ours left.
   */
  async begin(sidecar: Sidecar): Promise<void> {
    await this.#usable(async () => {
      await this.close();
      await stat(dirname(this.#path));
      if (!(await this.sidecar())) await Promise.all([checkFree(this.#note), checkFree(this.#part)]);
      await rm(this.#part, { force: true });
      await this.note(sidecar);
      this.#handle = await open(this.#part, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | NO_FOLLOW, 0o600);
    });
  }

  /** Writes down what it is a part of. */
  async note(sidecar: Sidecar): Promise<void> {
    await this.#usable(() => writeFileAtomically(this.#note, `${JSON.stringify(sidecar)}\n`, 0o600));
  }

  /** Reads from a place into the buffer; returns the bytes read. */
  read(buffer: Buffer, position: number): Promise<number> {
    return this.#usable(async () => {
      await this.#queue.flush();
      return (await this.#open.read(buffer, 0, buffer.length, position)).bytesRead;
    });
  }

  /** Copies the bytes; resolves when the next may come. Throws also for bytes before them. */
  write(bytes: Buffer, position: number): Promise<void> {
    return this.#usable(async () => {
      if (position !== this.#queue.next) {
        await this.#queue.flush();
        this.#queue.seek(position);
      }
      this.#queue.push(bytes);
      await this.#queue.ready();
    });
  }

  truncate(size: number): Promise<void> {
    return this.#usable(async () => {
      await this.#queue.flush();
      await this.#open.truncate(size);
    });
  }

  /**
   * Makes it the file that it is to be, on stable storage. `named` removes what else stood beside it. Throws FILE_UNUSABLE when there is one and it
   * is not to be replaced.
   */
  async publish(overwrite: boolean, named: () => Promise<void>): Promise<void> {
    await this.#usable(async () => {
      await this.#queue.flush();
      await this.#open.sync();
      const [ours, there] = [await this.#open.stat(), await lstat(this.#part)];
      if (ours.ino !== there.ino || ours.dev !== there.dev) throw new Error('another process fetches to the same path');
      await this.#name(overwrite);
      await this.close();
      await Promise.all([rm(this.#note, { force: true }), named()]);
      await syncFolder(dirname(this.#path));
    });
  }

  /** Throws all of it away. */
  async discard(): Promise<void> {
    this.#queue.drop();
    await this.close();
    await Promise.all([rm(this.#part, { force: true }), rm(this.#note, { force: true })]);
  }

  /** What has come is written before: a later call goes on behind it. */
  async close(): Promise<void> {
    // Whoever has to know that it failed has heard of it before.
    if (this.#handle) await this.#queue.flush().catch(() => undefined);
    const handle = this.#handle;
    this.#handle = undefined;
    this.#queue.drop();
    this.#queue = this.#newQueue();
    await handle?.close();
  }

  #newQueue(): WriteQueue {
    const write = async (left: readonly Buffer[], at: number): Promise<number> =>
      (await this.#open.writev(left, at)).bytesWritten;
    return new WriteQueue((buffers, position) => writeAll(write, buffers, position));
  }

  get #open(): FileHandle {
    if (!this.#handle) throw new Error('it is not open');
    return this.#handle;
  }

  /** A rename would replace what came to be there meanwhile; a second name does not. */
  async #name(overwrite: boolean): Promise<void> {
    if (overwrite) return rename(this.#part, this.#path);
    try {
      await link(this.#part, this.#path);
      await rm(this.#part);
    } catch (error) {
      if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await checkFree(this.#path);
      await rename(this.#part, this.#path);
    }
  }

  async #usable<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof FedgateError) throw cause;
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw taken(this.#path);
      throw new FedgateError('FILE_UNUSABLE', `${this.#path}: cannot be written: ${describe(cause)}`, { cause });
    }
  }
}

/** Throws FILE_UNUSABLE when something is at a path, also a symbolic link that leads nowhere. */
export async function checkFree(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats) throw taken(path);
}

export const newDownloadId = (): Buffer => randomBytes(16);

const taken = (path: string): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${path}: is there already, and is not replaced (overwrite is not set)`);

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
