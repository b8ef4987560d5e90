import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { FedgateError } from '../../errors.js';
import { storeFailure } from '../../store/failures.js';
import type { Pieces } from './pieces.js';
import { CHUNK_ROOM_BYTES } from './types.js';

/** What is read, hashed and handed on at once: large enough that calls do not count, small enough that many readers fit into memory. */
const CHUNK_BYTES = 256 * 1024;

/** What says that a file is not there, is a link, or cannot be read: then the piece is lost. */
const LOST = new Set(['ENOENT', 'ELOOP', 'EIO', 'EISDIR', 'ENOTDIR', 'ENXIO']);

export interface PieceToRead {
  readonly sha256: Buffer;
  readonly length: number;
  /** The first byte wanted. What comes before is read too when it is verified. */
  readonly offset: number;
  /** Whether it is verified although that was done a moment ago. @default false */
  readonly again?: boolean;
}

/**
 * The bytes of a piece in chunks of their own, verified when the last one has been given, unless that was done a moment ago (see FreshPieces).
 * One chunk is read ahead.
 *
 * Throws FILE_DAMAGED, after taking it out, when it is not what was written; STORE_FAILED when it cannot be read just now; the reason of the
 * signal. Leaving early closes it.
 */
export async function* readPiece(pieces: Pieces, piece: PieceToRead, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { sha256, length, offset, again = false } = piece;
  signal.throwIfAborted();
  const file = await openPiece(pieces, sha256);
  try {
    const state = await file.stat({ bigint: true });
    const damaged = (): Promise<never> => lost(pieces, sha256, state.ino);
    if (state.size !== BigInt(length)) await damaged();
    const hash = !again && pieces.fresh.has(sha256, state) ? undefined : createHash('sha256');
    const read = (at: number): Promise<Buffer> => {
      const reading = readAt(file, at, Math.min(CHUNK_BYTES, length - at));
      // Who leaves early does not wait for it.
      reading.catch(() => undefined);
      return reading;
    };
    const start = hash ? 0 : offset;
    let reading = read(start);
    for (let at = start; at < length; ) {
      const chunk: Buffer = await reading.catch(error => (isLost(error) ? damaged() : failed(error)));
      if (chunk.length === 0) await damaged();
      const end = at + chunk.length;
      if (end < length) reading = read(end);
      hash?.update(chunk);
      if (end > offset) yield at >= offset ? chunk : chunk.subarray(offset - at);
      signal.throwIfAborted();
      at = end;
    }
    if (!hash) return;
    if (!hash.digest().equals(sha256)) await damaged();
    pieces.fresh.add(sha256, state);
  } finally {
    // Waits for what is being read.
    await file.close();
  }
}

async function openPiece(pieces: Pieces, sha256: Buffer): Promise<FileHandle> {
  const number = await pieces.files.numberOf(sha256);
  try {
    return await pieces.files.read(sha256);
  } catch (error) {
    return isLost(error) ? await lost(pieces, sha256, number) : failed(error);
  }
}

const isLost = (error: unknown): boolean => LOST.has((error as NodeJS.ErrnoException).code ?? '');

function failed(error: unknown): never {
  throw storeFailure(error, 'a piece cannot be read');
}

async function lost(pieces: Pieces, sha256: Buffer, number: bigint | undefined): Promise<never> {
  await pieces.takeOut(sha256, number).catch(() => undefined);
  const name = sha256.toString('hex');
  throw new FedgateError('FILE_DAMAGED', `piece ${name} is not what was written`, { metadata: { piece: name } });
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  // Never from the pool: it is handed on, and a small rest of it would keep all of the pool.
  const room = Buffer.allocUnsafeSlow(CHUNK_ROOM_BYTES + length);
  const { bytesRead } = await file.read(room, CHUNK_ROOM_BYTES, length, at);
  return room.subarray(CHUNK_ROOM_BYTES, CHUNK_ROOM_BYTES + bytesRead);
}
