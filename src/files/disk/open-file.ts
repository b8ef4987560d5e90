import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsync,
  futimes,
  open,
  openSync,
  read,
  readv,
  write,
  writev,
} from 'node:fs';
import { ALIGNED_BYTES, BLOCK_BYTES, isAligned } from './blocks.js';
import { writeAll } from './write-queue.js';

/** What of a file's state changes when somebody writes to it. */
export interface FileState {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

interface OpenOptions {
  readonly mode?: number;
  /** @default true */
  readonly direct?: boolean;
}

/** Undefined where there is no such thing, as on macOS and Windows. */
const O_DIRECT: number | undefined = constants.O_DIRECT;
const NONE = -1;
/** What file systems answer that do not do it. */
const REFUSED: ReadonlySet<string> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/**
 * An open file by its descriptor. A FileHandle does the same and makes some objects more for each call, and its `close` and `stat` take a
 * thread for what the kernel has at hand; with the calls that a piece takes that is a tenth of what a gateway does for a file.
 *
 * It can be read and written past the page cache (docs/decisions/0035-past-the-page-cache.md): through a second descriptor of the same file, opened when
 * it is first wanted. Where there is none, or the file system does not take what it is given, all goes through the page cache.
 */
export class OpenFile {
  readonly #descriptor: number;
  readonly #mode: number;
  /** Past the page cache. Undefined: not asked for yet; NONE: there is none. */
  #direct: number | undefined;
  #refused: boolean;
  #running = 0;
  #closing = false;

  private constructor(descriptor: number, flags: number, direct: boolean) {
    this.#descriptor = descriptor;
    this.#mode = flags & (constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR);
    this.#refused = !direct;
  }

  /** `direct`: whether it may be read and written past the page cache. Throws what the operating system says, as all here. */
  static open(path: string, flags: number, { mode, direct = true }: OpenOptions = {}): Promise<OpenFile> {
    return new Promise((resolve, reject) => {
      open(path, flags, mode, (error, descriptor) =>
        error ? reject(error) : resolve(new OpenFile(descriptor, flags, direct)),
      );
    });
  }

  /** The same without a thread, for a path that was just gone through: all that the kernel needs for it is in memory. */
  static openHot(path: string, flags: number): OpenFile {
    return new OpenFile(openSync(path, flags), flags, false);
  }

  /** Fills the buffers from a place on, as far as the file goes. Resolves with the bytes read. */
  read(buffers: readonly Buffer[], position: number): Promise<number> {
    return this.#readFrom(this.#descriptor, buffers, position);
  }

  /**
   * Fills a block from a place on, as far as the file goes, with what the disk has, whatever the page cache does. Resolves with the bytes
   * read, or with undefined when that cannot be done with this file, this place or this block.
   */
  async readPast(block: Buffer, position: number): Promise<number | undefined> {
    const possible = isAligned(block) && position % ALIGNED_BYTES === 0;
    const direct = possible ? this.#openDirect() : NONE;
    if (direct === NONE) return undefined;
    try {
      return await this.#readFrom(direct, [block], position);
    } catch (error) {
      // Some file systems say so for all that they cannot do.
      return this.#refuseDirect(error, 'EIO');
    }
  }

  /** Writes all of the buffers, one behind the other. They must stay as they are until it resolves. Blocks go past the page cache. */
  async write(buffers: readonly Buffer[], position: number): Promise<void> {
    const whole = position % ALIGNED_BYTES === 0 ? wholeBlocks(buffers) : 0;
    const direct = whole > 0 ? this.#openDirect() : NONE;
    let written = 0;
    if (direct !== NONE) {
      try {
        await this.#writeTo(direct, buffers.slice(0, whole), position);
        written = whole;
      } catch (error) {
        this.#refuseDirect(error);
      }
    }
    const left = buffers.slice(written);
    if (left.length > 0) await this.#writeTo(this.#descriptor, left, position + written * BLOCK_BYTES);
  }

  async utimes(atime: number, mtime: number): Promise<void> {
    await this.#run<void>(done => futimes(this.#descriptor, atime, mtime, done));
  }

  async datasync(): Promise<void> {
    await this.#run<void>(done => fdatasync(this.#descriptor, done));
  }

  async sync(): Promise<void> {
    await this.#run<void>(done => fsync(this.#descriptor, done));
  }

  state(): FileState {
    this.#demandOpen();
    return fstatSync(this.#descriptor, { bigint: true });
  }

  /** When nothing is under way any more: its number may be another file's at once. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#running === 0) this.#close();
  }

  #close(): void {
    closed(this.#descriptor);
    if (this.#direct !== undefined && this.#direct !== NONE) closed(this.#direct);
  }

  /** By its descriptor: whatever became of its path, it is the same file. */
  #openDirect(): number {
    this.#demandOpen();
    if (this.#refused) return NONE;
    this.#direct ??= reopen(this.#descriptor, this.#mode);
    return this.#direct;
  }

  /** Some file systems open a file so, and then want other places and lengths, or cannot do it. Throws all else. Others may still use the descriptor. */
  #refuseDirect(error: unknown, other?: string): undefined {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!REFUSED.has(code) && code !== other) throw error;
    this.#refused = true;
  }

  #readFrom(descriptor: number, buffers: readonly Buffer[], position: number): Promise<number> {
    const [first] = buffers;
    return this.#run(done =>
      first && buffers.length === 1
        ? read(descriptor, first, 0, first.length, position, done)
        : readv(descriptor, buffers, position, done),
    );
  }

  #writeTo(descriptor: number, buffers: readonly Buffer[], position: number): Promise<void> {
    const some = (left: readonly Buffer[], at: number): Promise<number> => {
      const [first] = left;
      return this.#run(done =>
        first && left.length === 1
          ? write(descriptor, first, 0, first.length, at, done)
          : writev(descriptor, left, at, done),
      );
    };
    return writeAll(some, buffers, position);
  }

  #run<T>(call: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#demandOpen();
      this.#running++;
      call((error, result) => {
        this.#running--;
        if (this.#closing && this.#running === 0) this.#close();
        if (error) reject(error);
        else resolve(result as T);
      });
    });
  }

  #demandOpen(): void {
    if (this.#closing) throw new Error('the file is closed');
  }
}

/** How many of the first buffers are whole blocks that the disk takes as they are. */
function wholeBlocks(buffers: readonly Buffer[]): number {
  const other = buffers.findIndex(buffer => buffer.length !== BLOCK_BYTES || !isAligned(buffer));
  return other === -1 ? buffers.length : other;
}

/** The file of a descriptor once more, past the page cache. NONE: that is not to be had here. */
function reopen(descriptor: number, mode: number): number {
  if (O_DIRECT === undefined) return NONE;
  try {
    return openSync(`/proc/self/fd/${descriptor}`, mode | O_DIRECT);
  } catch {
    return NONE;
  }
}

/** What counts is on stable storage before: what a file system says when it lets go of a file is of no use to anybody. */
function closed(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {}
}
