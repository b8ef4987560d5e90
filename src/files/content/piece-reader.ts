import { createHash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import { storeFailure } from '../../store/failures.js';
import { BlockReader } from '../disk/block-reader.js';
import { ALIGNED_BYTES } from '../disk/blocks.js';
import type { OpenFile } from '../disk/open-file.js';
import type { Pieces } from './pieces.js';

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
 * The bytes of a piece in chunks, verified when the last one has been given, unless that was done a moment ago (see FreshPieces). Each is good until
 * the next is asked for. Some are read ahead.
 *
 * Throws FILE_DAMAGED, after taking it out, when it is not what was written; STORE_FAILED when it cannot be read just now; the reason of the
 * signal. Leaving early closes it.
 */
export async function* readPiece(pieces: Pieces, piece: PieceToRead, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { sha256, length, offset, again = false } = piece;
  signal.throwIfAborted();
  const file = await openPiece(pieces, sha256);
  let reader: BlockReader | undefined;
  try {
    const state = file.state();
    const damaged = (): Promise<never> => lost(pieces, sha256, state.ino);
    if (state.size !== BigInt(length)) await damaged();
    const hash = !again && pieces.fresh.has(sha256, state) ? undefined : createHash('sha256');
    let at = hash ? 0 : offset - (offset % ALIGNED_BYTES);
    const past = again || !pieces.readers.again(sha256);
    reader = new BlockReader(file, { from: at, to: length, past });
    while (at < length) {
      const bytes: Buffer = await reader.next().catch(error => (isLost(error) ? damaged() : failed(error)));
      if (bytes.length === 0) await damaged();
      hash?.update(bytes);
      const skip = Math.max(0, offset - at);
      at += bytes.length;
      if (at > offset) yield bytes.subarray(skip);
      signal.throwIfAborted();
    }
    if (!hash) return;
    if (!hash.digest().equals(sha256)) await damaged();
    pieces.fresh.add(sha256, state);
  } finally {
    reader?.close();
    file.close();
  }
}

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
