import { close, open } from 'node:fs';
import { promisify } from 'node:util';

const openFile = promisify(open);
const closeFile = promisify(close);

interface OpenFile {
  readonly opened: Promise<number>;
  users: number;
  /** No longer in the cache: closed when its last user is done. */
  evicted: boolean;
}

/** Open files by path. At most `limit` stay open beyond those in use; the one that was used longest ago goes first. */
export class FileCache {
  readonly #flags: number;
  readonly #limit: number;
  readonly #files = new Map<string, OpenFile>();
  readonly #closing = new Set<Promise<void>>();

  constructor(flags: number, limit: number) {
    this.#flags = flags;
    this.#limit = limit;
  }

  /** Runs something with an open file. It stays open until that is over, whatever happens to the cache. */
  async use<T>(path: string, run: (fd: number) => Promise<T>): Promise<T> {
    const file = this.#take(path);
    file.users++;
    try {
      return await run(await file.opened);
    } finally {
      file.users--;
      if (file.evicted) this.#close(file);
    }
  }

  /** Forgets a file, because it was removed or is not to be trusted any more. */
  evict(path: string): void {
    const file = this.#files.get(path);
    if (!file) return;
    this.#files.delete(path);
    file.evicted = true;
    this.#close(file);
  }

  /** Closes all. Resolves when they are. */
  async close(): Promise<void> {
    for (const path of [...this.#files.keys()]) this.evict(path);
    await Promise.all(this.#closing);
  }

  #take(path: string): OpenFile {
    const known = this.#files.get(path);
    if (known) {
      // A map keeps the order in which keys came: this makes it the newest.
      this.#files.delete(path);
      this.#files.set(path, known);
      return known;
    }
    const file: OpenFile = { opened: openFile(path, this.#flags, 0o600), users: 0, evicted: false };
    // A file that could not be opened may be there the next time.
    file.opened.catch(() => {
      if (this.#files.get(path) === file) this.#files.delete(path);
    });
    this.#files.set(path, file);
    const oldest = this.#files.size > this.#limit ? this.#files.keys().next().value : undefined;
    if (oldest !== undefined && oldest !== path) this.evict(oldest);
    return file;
  }

  #close(file: OpenFile): void {
    if (file.users > 0) return;
    const closing: Promise<void> = file.opened.then(closeFile).then(
      () => undefined,
      () => undefined,
    );
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}
