import { FedgateError } from '../errors.js';
import type { Manifest, ShareHolder } from '../files/types.js';

/** What both sides of a files lane go by. */

/** Sessions of one asker that may be open on a lane. */
export const MAX_SESSIONS = 256;
/** Pieces of a session that may be wanted and not yet whole. */
export const MAX_WANTS = 16;
/** What one FileData holds at most when we send it. Larger ones hold the lane for too long, smaller ones cost more. */
export const CHUNK_BYTES = 256 * 1024;
/** What must move within the time of a stall: a byte a minute is no transfer. */
export const MIN_PROGRESS_BYTES = 16 * 1024;

export interface FilesTiming {
  /** After so long without progress a session that has something to do is over. @default 60 s */
  readonly stallMs: number;
  /** After so long a session of which nothing is wanted is over. @default 10 min */
  readonly idleMs: number;
  /** So long who wants to open a share waits for a link. @default 10 s */
  readonly linkWaitMs: number;
}

const STALL_MS = 60_000;
const IDLE_MS = 600_000;
const LINK_WAIT_MS = 10_000;
export const FILES_TIMING: FilesTiming = { stallMs: STALL_MS, idleMs: IDLE_MS, linkWaitMs: LINK_WAIT_MS };

/** What a gateway brings to its files lanes. */
export interface FilesHost {
  readonly holder: ShareHolder;
  /** Hears of every peer that lies. */
  onAlarm(error: FedgateError, facts: Readonly<Record<string, string>>): void;
  /** Other times than those of the protocol, for tests. */
  readonly timing?: Partial<FilesTiming>;
}

/** Bytes of a piece; 0 when there is no such piece. */
export function lengthOfPiece({ size, pieceSize }: Manifest, index: number): number {
  return Math.max(0, Math.min(pieceSize, size - index * pieceSize));
}

export const stalled = (what: string): FedgateError =>
  new FedgateError('TRANSFER_STALLED', `${what}, so the transfer was ended`);

export const asError = (error: unknown): FedgateError =>
  error instanceof FedgateError ? error : new FedgateError('INTERNAL', 'internal error', { cause: error });

/** What a signal says, for whoever waited. */
export const asCancelled = (reason: unknown): FedgateError =>
  reason instanceof FedgateError ? reason : new FedgateError('CANCELLED', 'the caller gave up', { cause: reason });

/** Whether bytes move: some are not enough. */
export class Progress {
  #sinceMs: number;
  #bytes = 0;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** Begins anew: something is to be done from now on, or a whole was finished. */
  restart(nowMs: number): void {
    this.#sinceMs = nowMs;
    this.#bytes = 0;
  }

  moved(bytes: number, nowMs: number): void {
    this.#bytes += bytes;
    if (this.#bytes >= MIN_PROGRESS_BYTES) this.restart(nowMs);
  }

  /** How long there has been none, milliseconds. */
  lacking(nowMs: number): number {
    return nowMs - this.#sinceMs;
  }
}
