import { createHash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import { storeFailure } from '../../store/failures.js';
import type { OpenFile } from './open-file.js';
import type { Pieces } from './pieces.js';
import { CHUNK_ROOM_BYTES } from './types.js';

/** What is hashed and handed on at once: a frame. */
const CHUNK_BYTES = 256 * 1024;
/** Chunks that are read at once: few calls, and many readers fit into memory. */
const CHUNKS_PER_READ = 2;

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
 * Some chunks are read ahead.
 *
 * Throws FILE_DAMAGED, after taking it out, when it is not what was written; STORE_FAILED when it cannot be read just now; the reason of the
 * signal. Leaving early closes it.
 */
export async function* readPiece(pieces: Pieces, piece: PieceToRead, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { sha256, length, offset, again = false } = piece;
  signal.throwIfAborted();
  const file = await openPiece(pieces, sha256);
  try {
    const state = file.state();
    const damaged = (): Promise<never> => lost(pieces, sha256, state.ino);
    if (state.size !== BigInt(length)) await damaged();
    const hash = !again && pieces.fresh.has(sha256, state) ? undefined : createHash('sha256');
    const read = (at: number): Promise<Buffer[]> => {
      const reading = readAt(file, at, Math.min(CHUNK_BYTES * CHUNKS_PER_READ, length - at));
      // Who leaves early does not wait for it.
      reading.catch(() => undefined);
      return reading;
    };
    let at = hash ? 0 : offset;
    let reading = read(at);
    while (at < length) {
      const chunks: Buffer[] = await reading.catch(error => (isLost(error) ? damaged() : failed(error)));
      if (chunks.length === 0) await damaged();
      const end = at + bytesOf(chunks);
      if (end < length) reading = read(end);
      for (const chunk of chunks) {
        hash?.update(chunk);
        const skip = Math.max(0, offset - at);
        at += chunk.length;
        if (at > offset) yield chunk.subarray(skip);
        signal.throwIfAborted();
      }
    }
    if (!hash) return;
    if (!hash.digest().equals(sha256)) await damaged();
    pieces.fresh.add(sha256, state);
  } finally {
    file.close();
  }
}

const bytesOf = (chunks: readonly Buffer[]): number => chunks.reduce((sum, { length }) => sum + length, 0);

async function openPiece(pieces: Pieces, sha256: Buffer): Promise<OpenFile> {
  try {
    return await pieces.files.read(sha256);
  } catch (error) {
    if (!isLost(error)) failed(error);
    // Nothing is there, so nothing that is written meanwhile is taken out.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return await lost(pieces, sha256, undefined);
  }
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

/** The bytes from a place on, as far as the file goes. */
async function readAt(file: OpenFile, at: number, length: number): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for (let from = 0; from < length; from += CHUNK_BYTES) chunks.push(roomFor(Math.min(CHUNK_BYTES, length - from)));
  let left = await file.read(chunks, at);
  const read: Buffer[] = [];
  for (const chunk of chunks) {
    if (left > 0) read.push(chunk.subarray(0, left));
    left -= chunk.length;
  }
  return read;
}

/** Never from the pool: it is handed on, and a small rest of it would keep all of the pool. */
const roomFor = (length: number): Buffer =>
  Buffer.allocUnsafeSlow(CHUNK_ROOM_BYTES + length).subarray(CHUNK_ROOM_BYTES);
