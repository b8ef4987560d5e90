import { closeSync, fdatasync, fstatSync, fsync, futimes, open, openSync, read, readv, write, writev } from 'node:fs';
import { writeAll } from '../write-queue.js';
import type { FileState } from './fresh-pieces.js';

/**
 * An open file by its descriptor. A FileHandle does the same and makes some objects more for each call, and its `close` and `stat` take a
 * thread for what the kernel has at hand; with the calls that a piece takes that is a tenth of what a gateway does for a file.
 */
export class OpenFile {
  readonly #descriptor: number;
  #running = 0;
  #closing = false;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Throws what the operating system says, as all here. */
  static open(path: string, flags: number, mode?: number): Promise<OpenFile> {
    return new Promise((resolve, reject) => {
      open(path, flags, mode, (error, descriptor) => (error ? reject(error) : resolve(new OpenFile(descriptor))));
    });
  }

  /** The same without a thread, for a path that was just gone through: all that the kernel needs for it is in memory. */
  static openHot(path: string, flags: number): OpenFile {
    return new OpenFile(openSync(path, flags));
  }

  /** Fills the buffers from a place on, as far as the file goes. Resolves with the bytes read. */
  read(buffers: readonly Buffer[], position: number): Promise<number> {
    const [first] = buffers;
    return this.#run(done =>
      first && buffers.length === 1
        ? read(this.#descriptor, first, 0, first.length, position, done)
        : readv(this.#descriptor, buffers, position, done),
    );
  }

  /** Writes all of the buffers, one behind the other. They must stay as they are until it resolves. */
  write(buffers: readonly Buffer[], position: number): Promise<void> {
    return writeAll((left, at) => this.#writeSome(left, at), buffers, position);
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
    if (this.#running === 0) closeSync(this.#descriptor);
  }

  #writeSome(buffers: readonly Buffer[], position: number): Promise<number> {
    const [first] = buffers;
    return this.#run(done =>
      first && buffers.length === 1
        ? write(this.#descriptor, first, 0, first.length, position, done)
        : writev(this.#descriptor, buffers, position, done),
    );
  }

  #run<T>(call: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#demandOpen();
      this.#running++;
      call((error, result) => {
        this.#running--;
        if (this.#closing && this.#running === 0) closeSync(this.#descriptor);
        if (error) reject(error);
        else resolve(result as T);
      });
    });
  }

  #demandOpen(): void {
    if (this.#closing) throw new Error('the file is closed');
  }
}
