import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { describe, FedgateError } from '../../errors.js';
import { CHUNK_BYTES, CHUNK_HEADROOM, frameChunk } from '../../wire/file-frames.js';
import { throwIfGivenUp } from './patience.js';

/** A frame of an upload, and where the next one begins. */
export interface SourceFrame {
  readonly frame: Buffer;
  readonly end: number;
}

/** What the gateway has of an upload. */
export interface Committed {
  readonly committedSize: number;
  readonly pieceSize: number;
  /** Digests of the committed pieces, 32 bytes each. */
  readonly pieces: Buffer;
}

/** Bytes to be shared. */
export interface Source {
  /** Undefined: not known. */
  readonly size: number | undefined;
  /** Whether `frames` may be called again after it broke off. */
  readonly repeatable: boolean;
  /** Throws FILE_CHANGED when what the gateway has is not what is here. To be called before `frames` at that place. */
  compare(committed: Committed, signal?: AbortSignal): Promise<void>;
  /** Throws FILE_CHANGED when a finished content is not what is here. */
  compareWhole(sha256: string, signal?: AbortSignal): Promise<void>;
  /** Chunks from a place on. Each frame is good for as long as it is kept. */
  frames(offset: number): AsyncGenerator<SourceFrame>;
  /** To be called behind the last frame, before the upload is finished. Throws FILE_CHANGED. */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** What must be the same before and after. */
type Identity = readonly [size: bigint, modifiedNs: bigint, inode: bigint];

/** A regular file, opened once: whatever becomes of its path, the bytes are of one file. */
export class FileSource implements Source {
  readonly repeatable = true;
  readonly size: number;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #identity: Identity;

  private constructor(path: string, handle: FileHandle, identity: Identity) {
    this.#path = path;
    this.#handle = handle;
    this.#identity = identity;
    this.size = Number(identity[0]);
  }

  /** Throws FILE_UNUSABLE: not there, not readable, no regular file, a symbolic link that is not to be followed. */
  static async open(path: string, followLinks: boolean): Promise<FileSource> {
    // Not blocking: a pipe without a writer would keep us for ever.
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (followLinks ? 0 : (constants.O_NOFOLLOW ?? 0));
    const handle = await open(path, flags).catch(cause => {
      throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be shared: ${why(cause)}`, { cause });
    });
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be shared: it is no regular file`);
      return new FileSource(path, handle, await identityOf(handle));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async compare({ committedSize, pieceSize, pieces }: Committed, signal?: AbortSignal): Promise<void> {
    if (committedSize > this.size) throw this.#changed();
    for (let index = 0; index * pieceSize < committedSize; index++) {
      const begin = index * pieceSize;
      const digest = await this.#digest(begin, Math.min(begin + pieceSize, committedSize), signal);
      if (!digest.equals(pieces.subarray(index * 32, index * 32 + 32))) throw this.#changed();
    }
  }

  async compareWhole(sha256: string, signal?: AbortSignal): Promise<void> {
    const digest = await this.#digest(0, this.size, signal);
    await this.checkUnchanged();
    if (digest.toString('hex') !== sha256) throw this.#changed();
  }

  async *frames(offset: number): AsyncGenerator<SourceFrame> {
    if (offset >= this.size) return;
    // The disk is at work while the one before is on its way.
    for (let reading = this.#frame(offset); ; ) {
      const frame = await reading;
      const last = frame.end === this.size;
      if (!last) {
        reading = this.#frame(frame.end);
        // Who leaves early does not hear of it.
        reading.catch(() => undefined);
      }
      yield frame;
      if (last) return;
    }
  }

  async #frame(at: number): Promise<SourceFrame> {
    const length = Math.min(CHUNK_BYTES, this.size - at);
    const buffer = Buffer.allocUnsafeSlow(CHUNK_HEADROOM + length);
    await this.#read(buffer.subarray(CHUNK_HEADROOM), at);
    return { frame: frameChunk(buffer, CHUNK_HEADROOM, buffer.length, at), end: at + length };
  }

  async checkUnchanged(): Promise<void> {
    const now = await identityOf(this.#handle);
    if (now.some((value, i) => value !== this.#identity[i])) throw this.#changed();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  async #digest(begin: number, end: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - begin));
    for (let at = begin; at < end; ) {
      throwIfGivenUp(signal);
      const part = buffer.subarray(0, end - at);
      await this.#read(part, at);
      hash.update(part);
      at += part.length;
    }
    return hash.digest();
  }

  /** Fills the buffer. A file that is shorter now has changed. */
  async #read(buffer: Buffer, position: number): Promise<void> {
    for (let filled = 0; filled < buffer.length; ) {
      const { bytesRead } = await this.#handle
        .read(buffer, filled, buffer.length - filled, position + filled)
        .catch(cause => {
          throw new FedgateError('FILE_UNUSABLE', `${this.#path}: cannot be read: ${describe(cause)}`, { cause });
        });
      if (bytesRead === 0) throw this.#changed();
      filled += bytesRead;
    }
  }

  #changed(): FedgateError {
    return new FedgateError('FILE_CHANGED', `${this.#path}: the file changed while it was shared; nothing was shared`);
  }
}

async function identityOf(handle: FileHandle): Promise<Identity> {
  const { size, mtimeNs, ino } = await handle.stat({ bigint: true });
  return [size, mtimeNs, ino];
}

function why(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'this user may not read it';
  if (code === 'ELOOP') return 'it is a symbolic link';
  if (code === 'ENXIO') return 'it is no regular file';
  return describe(error);
}
