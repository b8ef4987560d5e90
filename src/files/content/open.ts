import type { Store } from '../../store/store.js';
import { ContentStore } from './contents.js';
import type { OnContentEvent } from './events.js';
import { Ledger } from './ledger.js';
import { loadLedger } from './load.js';
import { OpenedContents } from './opened-contents.js';
import type { ContentLimits } from './parts.js';
import { PieceFiles } from './piece-files.js';
import { Pieces } from './pieces.js';
import { Sweeper } from './sweeper.js';
import { Uploads } from './uploads.js';

/** How often what is not needed any more is looked for. */
const SWEEP_MS = 10 * 60 * 1000;
/** Each how many sweeps all folders are read for files without a row: they come from crashes only. */
const SWEEPS_PER_WALK = 36;

export interface ContentsOptions {
  /** Where the pieces are, beside the store: `<state>/files`. Made when it is not there. */
  readonly folder: string;
  /** Holds the index. Closed by its owner, after the contents. */
  readonly store: Store;
  /** Epoch milliseconds. */
  readonly now: () => number;
  readonly limits: ContentLimits;
  /** Whether pieces go past the page cache where the file system lets them. @default true */
  readonly directIo?: boolean;
  readonly onEvent: OnContentEvent;
}

/**
 * Opens the content store. The caller closes it.
 *
 * Throws FILE_UNUSABLE when something else lies where its folders should be, STORE_* when they cannot be written to. What a process before this one
 * left half-written is removed.
 */
export async function openContents(options: ContentsOptions): Promise<ContentStore> {
  const { folder, store, now, limits, directIo = true, onEvent } = options;
  const files = await PieceFiles.open(folder, directIo);
  const ledger = new Ledger(limits);
  let sweeper: Sweeper | undefined;
  const tell: OnContentEvent = event => {
    if (event.kind === 'row-damaged') sweeper?.wantRecount();
    onEvent(event);
  };
  const closing = new AbortController();
  const pieces = new Pieces(store, files, tell);
  const opened = new OpenedContents();
  const parts = { folder, pieces, ledger, opened, limits, now, onEvent: tell, closing: closing.signal };
  const uploads = new Uploads(parts);
  sweeper = new Sweeper(parts, store, uploads);
  if (await loadLedger(store, ledger, tell)) sweeper.wantRecount();
  const stop = sweepNowAndThen(sweeper, tell);
  return new ContentStore({ parts, store, uploads, sweeper, closing, stop });
}

/** Sweeps by the clock, one at a time. Answers the way to stop it, which resolves when none is under way. */
function sweepNowAndThen(sweeper: Sweeper, onEvent: OnContentEvent): () => Promise<void> {
  let sweeps = 0;
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= sweeper
      .sweep(++sweeps % SWEEPS_PER_WALK === 0)
      .then(() => undefined)
      .catch(error => onEvent({ kind: 'failed', what: 'sweep', error }))
      .finally(() => {
        running = undefined;
      });
  }, SWEEP_MS).unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
