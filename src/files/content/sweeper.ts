import type { Store } from '../../store/store.js';
import type { Parts } from './parts.js';
import { removeFile } from './piece-files.js';
import { recount } from './recount.js';
import { removable, removeContent } from './removal.js';
import type { Uploads } from './uploads.js';

/** How old a file without a row must be: one that is just being put in its place has none yet. */
const ORPHAN_MS = 60 * 60 * 1000;

export interface Swept {
  readonly contents: number;
  readonly uploads: number;
  readonly files: number;
}

/** Removes what is not needed any more. */
export class Sweeper {
  readonly #parts: Parts;
  readonly #store: Store;
  readonly #uploads: Uploads;
  #recountWanted = false;

  constructor(parts: Parts, store: Store, uploads: Uploads) {
    this.#parts = parts;
    this.#store = store;
    this.#uploads = uploads;
  }

  /** Rows were found damaged. */
  wantRecount(): void {
    this.#recountWanted = true;
  }

  /** `files`: whether files without a row are looked for too, which reads all folders. */
  async sweep(files: boolean): Promise<Swept> {
    const { limits, now, pieces, onEvent, closing } = this.#parts;
    if (this.#recountWanted) {
      this.#recountWanted = false;
      try {
        await recount(this.#parts, this.#store);
      } catch (error) {
        this.#recountWanted = true;
        throw error;
      }
    }
    const uploads = await this.#uploads.sweep(now() - limits.uploadKeepMs);
    const contents = await this.#sweepContents();
    await pieces.idle();
    const swept = { contents, uploads, files: files && !closing.aborted ? await this.#sweepFiles() : 0 };
    if (swept.contents + swept.uploads + swept.files > 0) onEvent({ kind: 'swept', ...swept });
    return swept;
  }

  /** Those whose time is over, then the least recently used until the rest fits. */
  async #sweepContents(): Promise<number> {
    const { ledger, limits, now, closing } = this.#parts;
    let removed = 0;
    for (const { id, usedMs } of removable(this.#parts)) {
      if (closing.aborted) break;
      if (now() - usedMs <= limits.keepMs && ledger.cacheExcess() <= 0) break;
      if (await removeContent(this.#parts, id)) removed++;
    }
    return removed;
  }

  async #sweepFiles(): Promise<number> {
    const { pieces, closing } = this.#parts;
    let removed = 0;
    for await (const { path, sha256, modifiedMs } of pieces.files.list()) {
      if (closing.aborted) break;
      // By the clock of the file system, which is that of the machine.
      if (Date.now() - modifiedMs < ORPHAN_MS) continue;
      if (sha256) {
        if (await pieces.removeOrphan(sha256)) removed++;
      } else {
        await removeFile(path);
        removed++;
      }
    }
    return removed;
  }
}
