import type { OrgName } from '../../identity/names.js';
import type { Store } from '../../store/store.js';
import type { OnContentEvent } from './events.js';
import { FreshPieces } from './fresh-pieces.js';
import { IndexQueue } from './index-queue.js';
import { type IndexView, storedRow } from './index-view.js';
import type { PieceDraft } from './piece-draft.js';
import type { PieceFiles } from './piece-files.js';
import { PieceReaders } from './piece-readers.js';
import { decodePieceRow, TABLE } from './rows.js';
import { Turns } from './turns.js';

/** Carries a step of the index out with a piece that is on the disk. Answers how many places refer to it that did not before. */
export type Refer = (view: IndexView) => Promise<number> | number;

/** Where a step comes among others. */
export interface Order {
  /** The one before it has its place. When it rejects, so does this one. */
  readonly behind?: Promise<void>;
  /** This one has its place. */
  readonly entered?: () => void;
  /** Who sent it. @default an own node */
  readonly org?: OrgName | undefined;
}

/**
 * Pieces on the disk and their rows, which belong together: a row is committed only when its file is on stable storage, and a file is
 * removed only when its row is gone. Whatever touches the file of a piece waits its turn.
 */
export class Pieces {
  readonly files: PieceFiles;
  readonly fresh = new FreshPieces();
  readonly readers = new PieceReaders();
  readonly index: IndexQueue;
  readonly #store: Store;
  readonly #onEvent: OnContentEvent;
  readonly #turns = new Turns();
  /** Pieces that were taken out since the start: places refer to them, and they are not there. */
  readonly #lost = new Set<string>();
  #removing: Promise<void> = Promise.resolve();

  constructor(store: Store, files: PieceFiles, onEvent: OnContentEvent) {
    this.#store = store;
    this.files = files;
    this.#onEvent = onEvent;
    this.index = new IndexQueue(store, onEvent, freed => this.#removeSoon(freed));
  }

  isLost(sha256: Buffer): boolean {
    return this.#lost.size > 0 && this.#lost.has(sha256.toString('hex'));
  }

  /** Whether a piece is on the disk, as far as its row and its file say. `org`: and was sent by it. */
  async isThere(sha256: Buffer, length: number, org?: OrgName): Promise<boolean> {
    if (this.isLost(sha256)) return false;
    const row = await storedRow(this.#store, TABLE.piece, sha256, decodePieceRow, this.#onEvent);
    if (org !== undefined && !row?.sentBy.includes(org)) return false;
    return row?.length === length && (await this.files.isThere(sha256, length));
  }

  /**
   * Makes a piece of a draft, and commits a step with it. The draft is gone afterwards, whatever happens. Rejects with STORE_*.
   *
   * With `order` the step comes behind that of an earlier call, while their pieces go to the disk side by side. No two calls ever wait for each
   * other, since turns are given in the order of the calls and each waits for earlier ones only.
   */
  async enter(draft: PieceDraft, refer: Refer, order?: Order): Promise<void> {
    const { sha256, length } = draft;
    await this.#turns.run(nameOf(sha256), async () => {
      try {
        // A file without a row is not known to be on stable storage: it is then replaced.
        if (!(await this.isThere(sha256, length))) this.fresh.add(sha256, await this.files.place(draft));
        await order?.behind;
        const done = this.#refer(sha256, length, refer, order?.org);
        order?.entered?.();
        await done;
      } catch (error) {
        await this.#removeUnknown(sha256).catch(() => undefined);
        throw error;
      } finally {
        await draft.discard();
      }
    });
  }

  /** Commits a step with a piece that is on the disk. False: it is not, or `org` did not send it: then it may only know its digest. */
  async adopt(sha256: Buffer, length: number, refer: Refer, org: OrgName | undefined): Promise<boolean> {
    if (!(await this.isThere(sha256, length, org))) return false;
    return this.#turns.run(nameOf(sha256), async () => {
      if (!(await this.isThere(sha256, length, org))) return false;
      await this.#refer(sha256, length, refer, org);
      return true;
    });
  }

  /** Takes a piece out that is not what was written. What refers to it still does. `number`: of the file that was read, if there was one. */
  async takeOut(sha256: Buffer, number: bigint | undefined): Promise<void> {
    const name = nameOf(sha256);
    await this.#turns.run(name, async () => {
      // Meanwhile somebody may have written it again.
      if ((await this.files.numberOf(sha256)) !== number) return;
      this.#lost.add(name);
      await this.index.change(async view => {
        const row = await view.piece(sha256);
        if (row) view.putPiece(sha256, { ...row, length: 0 });
      });
      await this.files.remove(sha256);
      this.#onEvent({ kind: 'piece-damaged', sha256: Buffer.from(sha256) });
    });
  }

  /** Removes a file that no row stands for. Answers whether there was none. */
  async removeOrphan(sha256: Buffer): Promise<boolean> {
    return this.#turns.run(nameOf(sha256), async () => {
      // In the turn of the index: a row may be on its way.
      const row = await this.index.change(view => view.piece(sha256));
      if (row && row.length > 0) return false;
      await this.files.remove(sha256);
      return true;
    });
  }

  /** Resolves when all that was handed in is done. */
  async idle(): Promise<void> {
    await this.index.idle();
    await this.#removing;
  }

  /** Removes a file whose row was not committed. In the turn of the piece. */
  async #removeUnknown(sha256: Buffer): Promise<void> {
    const row = await storedRow(this.#store, TABLE.piece, sha256, decodePieceRow, this.#onEvent);
    if (!row || row.length === 0) await this.files.remove(sha256);
  }

  async #refer(sha256: Buffer, length: number, refer: Refer, org?: OrgName): Promise<void> {
    await this.index.change(async view => {
      const added = await refer(view);
      const row = await view.piece(sha256);
      const before = row?.sentBy ?? [];
      const sentBy = org === undefined || before.includes(org) ? before : [...before, org];
      // At least one: its row may have been damaged since a place began to refer to it.
      view.putPiece(sha256, { length, references: Math.max(1, (row?.references ?? 0) + added), sentBy });
      view.after(() => this.#lost.delete(nameOf(sha256)));
    });
  }

  #removeSoon(freed: readonly Buffer[]): void {
    this.#removing = this.#removing
      .then(async () => {
        for (const sha256 of freed) {
          this.#lost.delete(nameOf(sha256));
          await this.removeOrphan(sha256);
        }
      })
      .catch(error => this.#onEvent({ kind: 'failed', what: 'remove', error }));
  }
}

const nameOf = (sha256: Buffer): string => sha256.toString('hex');
