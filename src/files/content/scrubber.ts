import { setTimeout as sleep } from 'node:timers/promises';
import { FedgateError } from '../../errors.js';
import type { Store } from '../../store/store.js';
import { eachRow } from './load.js';
import type { Parts } from './parts.js';
import { readPiece } from './piece-reader.js';
import { decodePieceRow, type PieceRow, TABLE } from './rows.js';

/** What a scrub reads in a second: little beside what transfers read. */
const BYTES_PER_SECOND = 32 * 1024 * 1024;

export interface ScrubProgress {
  readonly pieces: number;
  readonly bytes: number;
  readonly damaged: number;
}

export interface ScrubOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ScrubProgress) => void;
  /** @default 32 MiB */
  readonly bytesPerSecond?: number;
}

/** Reads every piece, and takes out those that are not what was written. Rejects with the reason of the signal. */
export async function scrub(
  { pieces, onEvent }: Pick<Parts, 'pieces' | 'onEvent'>,
  store: Store,
  { signal, onProgress, bytesPerSecond = BYTES_PER_SECOND }: ScrubOptions,
): Promise<ScrubProgress> {
  let progress: ScrubProgress = { pieces: 0, bytes: 0, damaged: 0 };
  const visit = async (sha256: Buffer, row: PieceRow | undefined): Promise<void> => {
    signal.throwIfAborted();
    if (!row || row.length === 0) return;
    const started = performance.now();
    const damaged = await isDamaged(sha256, row.length);
    progress = {
      pieces: progress.pieces + 1,
      bytes: progress.bytes + row.length,
      damaged: progress.damaged + (damaged ? 1 : 0),
    };
    onProgress?.(progress);
    const pauseMs = (row.length / bytesPerSecond) * 1000 - (performance.now() - started);
    if (pauseMs >= 1) await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  };
  const isDamaged = async (sha256: Buffer, length: number): Promise<boolean> => {
    try {
      for await (const _ of readPiece(pieces, { sha256, length, offset: length, again: true }, signal));
      return false;
    } catch (error) {
      if (error instanceof FedgateError && error.reason === 'FILE_DAMAGED') return true;
      throw error;
    }
  };
  await eachRow(store, TABLE.piece, decodePieceRow, visit, onEvent);
  return progress;
}
