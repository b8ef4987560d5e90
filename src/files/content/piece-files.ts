import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { FedgateError } from '../../errors.js';
import { storeFailure } from '../../store/failures.js';
import { type FileState, OpenFile } from '../disk/open-file.js';
import { PieceDraft } from './piece-draft.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/** A file below `pieces`: a piece when it has the name of one in the place of that name. */
export interface FoundFile {
  readonly path: string;
  readonly sha256: Buffer | undefined;
  readonly modifiedMs: number;
}

/**
 * The folders of a content store: `pieces/ab/cd/<64 hexadecimal digits>`, and `incoming` for what is being written.
 *
 * No link in them is ever followed. A name says what the bytes are, and they are checked when they are read.
 */
export class PieceFiles {
  readonly #pieces: string;
  readonly #incoming: string;
  readonly #direct: boolean;
  /** Folders that are there, are no links, and whose entries in their own folders are on stable storage. */
  readonly #entered = new Set<string>();

  private constructor(folder: string, direct: boolean) {
    this.#direct = direct;
    this.#pieces = join(folder, 'pieces');
    this.#incoming = join(folder, 'incoming');
  }

  /**
   * Makes the folders, and removes what a process before this one was writing. Throws FILE_UNUSABLE for a link in the place of a folder, STORE_*.
   * `direct`: whether pieces go past the page cache.
   */
  static async open(folder: string, direct: boolean): Promise<PieceFiles> {
    const files = new PieceFiles(folder, direct);
    try {
      await mkdir(join(folder, '..'), { recursive: true, mode: 0o700 });
      for (const path of [folder, files.#pieces, files.#incoming]) await makeFolder(path);
      await syncFolder(folder);
      for (const name of await readdir(files.#incoming))
        await unlink(join(files.#incoming, name)).catch(() => undefined);
    } catch (error) {
      throw storeFailure(error, 'the folder of files cannot be used');
    }
    return files;
  }

  pathOf(sha256: Buffer): string {
    const name = sha256.toString('hex');
    return join(this.#pieces, name.slice(0, 2), name.slice(2, 4), name);
  }

  async draft(): Promise<PieceDraft> {
    const path = join(this.#incoming, randomBytes(16).toString('hex'));
    try {
      const file = await OpenFile.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, {
        mode: 0o600,
        direct: this.#direct,
      });
      return new PieceDraft(path, file);
    } catch (error) {
      throw storeFailure(error, 'a piece cannot be written');
    }
  }

  /**
   * Puts a draft in its place, instead of whatever is there. On stable storage, with its name, when it resolves, with what the file is then.
   *
   * Named first and synced then: file systems with a journal write all of it at once. Nobody trusts a file that has no row yet.
   */
  async place(draft: PieceDraft): Promise<FileState> {
    const path = this.pathOf(draft.sha256);
    const folder = join(path, '..');
    const above = join(folder, '..');
    try {
      await Promise.all([draft.flush(), this.#makeFolders(above, folder)]);
      await draft.rename(path).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        // Somebody removed the folder.
        this.#entered.delete(folder);
        this.#entered.delete(above);
        await this.#makeFolders(above, folder);
        await draft.rename(path);
      });
      await draft.sync();
      await syncFolder(folder);
      if (!this.#entered.has(folder)) await syncFolder(above);
      if (!this.#entered.has(above)) await syncFolder(this.#pieces);
      this.#entered.add(folder).add(above);
      const state = draft.state();
      draft.close();
      return state;
    } catch (error) {
      throw storeFailure(error, 'a piece was not put in its place');
    }
  }

  async #makeFolders(...folders: readonly string[]): Promise<void> {
    for (const folder of folders) if (!this.#entered.has(folder)) await makeFolder(folder);
  }

  /** Throws what the operating system says. */
  read(sha256: Buffer): Promise<OpenFile> {
    // A pipe in its place must not hold the reader up.
    return OpenFile.open(this.pathOf(sha256), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, { direct: this.#direct });
  }

  /** Whether a file of that length is in the place of a piece. */
  async isThere(sha256: Buffer, length: number): Promise<boolean> {
    const found = await lstat(this.pathOf(sha256)).catch(() => undefined);
    return found?.isFile() === true && found.size === length;
  }

  /** Which file is in the place of a piece: another one has another number. */
  async numberOf(sha256: Buffer): Promise<bigint | undefined> {
    const found = await lstat(this.pathOf(sha256), { bigint: true }).catch(() => undefined);
    return found?.ino;
  }

  async remove(sha256: Buffer): Promise<void> {
    await removeFile(this.pathOf(sha256));
  }

  /** All files below `pieces` that are no folders, with what lies where nothing of ours would. Folders that are not ours are left alone. */
  async *list(): AsyncGenerator<FoundFile> {
    for (const first of await readdir(this.#pieces, { withFileTypes: true })) {
      const at = join(this.#pieces, first.name);
      if (!first.isDirectory()) yield await foundFile(at);
      else if (BYTE.test(first.name)) yield* this.#listSecond(at, first.name);
    }
  }

  async *#listSecond(folder: string, first: string): AsyncGenerator<FoundFile> {
    for (const second of await readdir(folder, { withFileTypes: true })) {
      const at = join(folder, second.name);
      if (!second.isDirectory()) yield await foundFile(at);
      if (!second.isDirectory() || !BYTE.test(second.name)) continue;
      for (const file of await readdir(at, { withFileTypes: true })) {
        if (file.isDirectory()) continue;
        const ours = DIGEST.test(file.name) && file.name.startsWith(first + second.name);
        yield await foundFile(join(at, file.name), ours ? Buffer.from(file.name, 'hex') : undefined);
      }
    }
  }
}

const BYTE = /^[0-9a-f]{2}$/;
const DIGEST = /^[0-9a-f]{64}$/;

async function foundFile(path: string, sha256?: Buffer): Promise<FoundFile> {
  const found = await lstat(path).catch(() => undefined);
  return { path, sha256, modifiedMs: found?.mtimeMs ?? Number.POSITIVE_INFINITY };
}

/** Makes a folder that only this user may enter. Throws FILE_UNUSABLE for anything else of that name, links to folders included. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (!(await lstat(path)).isDirectory()) throw new FedgateError('FILE_UNUSABLE', `${path} is no folder`);
  }
}

/** Of a folder that was made, or got an entry, a moment ago. */
async function syncFolder(path: string): Promise<void> {
  const folder = OpenFile.openHot(path, O_RDONLY | O_NOFOLLOW);
  try {
    await folder.sync();
  } finally {
    folder.close();
  }
}

/** Removes a file, or a link itself. That it is gone already is no failure. */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
