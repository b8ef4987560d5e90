import { statfs } from 'node:fs/promises';
import { FedgateError } from '../../errors.js';
import type { OnContentEvent } from './events.js';
import type { Ledger } from './ledger.js';
import type { OpenedContents } from './opened-contents.js';
import type { Pieces } from './pieces.js';

export interface ContentLimits {
  /** Bytes of shares and uploads of all nodes. */
  readonly sharedBytes: number;
  readonly sharedBytesPerNode: number;
  /** Bytes kept of what no share stands for. */
  readonly cacheBytes: number;
  /** Bytes left free on the disk. */
  readonly reserveBytes: number;
  /** How long content stays that no share stands for and nobody uses. */
  readonly keepMs: number;
  /** How long an upload stays that nobody goes on with. */
  readonly uploadKeepMs: number;
}

/** What the parts of a content store share. */
export interface Parts {
  /** `<state>/files`. */
  readonly folder: string;
  readonly pieces: Pieces;
  readonly ledger: Ledger;
  readonly opened: OpenedContents;
  readonly limits: ContentLimits;
  readonly now: () => number;
  readonly onEvent: OnContentEvent;
  /** Fires when the store closes. */
  readonly closing: AbortSignal;
}

/** Bytes that are free on the disk of the content store. */
export async function freeBytes({ folder }: Pick<Parts, 'folder'>): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

export const closed = (): FedgateError => new FedgateError('STORE_FAILED', 'the files are closed');
