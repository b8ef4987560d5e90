import type { Hash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import type { Change } from '../../store/store.js';
import { manifestDigest, merkleRoot } from '../manifest.js';
import type { Manifest } from '../types.js';
import { Held } from './held-content.js';
import type { IndexView } from './index-view.js';
import { freeBytes, type Parts } from './parts.js';
import type { PieceDraft } from './piece-draft.js';
import { publish } from './publish.js';
import type { UploadRow } from './rows.js';
import type { HeldContent, Upload } from './types.js';
import { demandFits, demandWhole, type UploadProgress } from './upload-bounds.js';
import { addDigest } from './upload-digests.js';

/** Pieces of an upload that are on their way to stable storage while the next one is written. */
const PIECES_BEHIND = 4;

export interface UploadWriterOptions {
  readonly parts: Parts;
  /** The key of its row. */
  readonly at: Buffer;
  readonly owner: string;
  readonly start: Buffer;
  /** Undefined: not known. */
  readonly size: number | undefined;
  readonly pieceSize: number;
  readonly committedSize: number;
  /** Digests of the committed pieces. */
  readonly pieces: Buffer;
  /** The whole-file digest so far. */
  readonly whole: Hash;
  readonly taken: AbortSignal;
  /** Called once, when it writes no more. */
  readonly onClose: () => void;
}

/** The whole-file digest as it is behind a committed piece: what goes on there need not read all of it again. */
export interface WholeSoFar {
  readonly size: number;
  readonly hash: Hash;
}

type Also = (change: Change, content: { readonly id: Buffer; readonly manifest: Manifest }) => void;

/**
 * The one writer of an upload. Bytes go to the disk as they come; a piece that is full is synced and committed while the next is written.
 *
 * Whatever the disk says ends it. What was committed is there for a later call, and nothing else is.
 */
export class UploadWriter implements Upload {
  readonly #options: UploadWriterOptions;
  readonly #digests: Buffer[];
  readonly #behind: Promise<void>[] = [];
  #draft: PieceDraft | undefined;
  #committedSize: number;
  #received: number;
  #wholeSoFar: WholeSoFar;
  #last: Promise<void> = Promise.resolve();
  /** The call that is under way. */
  #running: Promise<unknown> | undefined;
  #failure: unknown;
  #closed: Promise<void> | undefined;

  constructor(options: UploadWriterOptions) {
    this.#options = options;
    this.#digests = [options.pieces];
    this.#committedSize = options.committedSize;
    this.#received = options.committedSize;
    this.#wholeSoFar = { size: options.committedSize, hash: options.whole.copy() };
  }

  get committedSize(): number {
    return this.#committedSize;
  }

  get pieceSize(): number {
    return this.#options.pieceSize;
  }

  get pieces(): Buffer {
    return Buffer.concat(this.#digests);
  }

  get taken(): AbortSignal {
    return this.#options.taken;
  }

  get wholeSoFar(): WholeSoFar {
    return this.#wholeSoFar;
  }

  write(offset: number, chunk: Buffer): Promise<void> {
    return this.#alone(async () => {
      demandFits(this.#progress, offset, chunk.length);
      await this.#reserve(offset + chunk.length);
      await this.#orFail(() => this.#writeAll(chunk));
    });
  }

  async finish(also: Also): Promise<HeldContent> {
    const held = await this.#alone(async () => {
      demandWhole(this.#progress);
      return await this.#orFail(async () => {
        await Promise.all(this.#behind);
        return await this.#publish(also);
      });
    });
    await this.close();
    return held;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#failure ??= new RangeError('the upload is closed');
    const draft = this.#draft;
    this.#draft = undefined;
    await draft?.discard();
    await this.#running?.catch(() => undefined);
    await Promise.allSettled(this.#behind);
    this.#options.onClose();
  }

  /** Nothing may be called while a call is under way. */
  async #alone<T>(run: () => Promise<T>): Promise<T> {
    if (this.#running !== undefined) throw new RangeError('the upload is being written to');
    this.#demandOpen();
    const running = run();
    this.#running = running;
    try {
      return await running;
    } finally {
      this.#running = undefined;
    }
  }

  #demandOpen(): void {
    this.taken.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
  }

  get #progress(): UploadProgress {
    const { size, pieceSize } = this.#options;
    return { size, pieceSize, committedSize: this.#committedSize, received: this.#received };
  }

  /** Space for what was declared was reserved at the start; else it is reserved as it comes. */
  async #reserve(end: number): Promise<void> {
    const { parts, at } = this.#options;
    const name = at.toString('latin1');
    const reserved = parts.ledger.uploads.get(name)?.reservedBytes ?? 0;
    if (end <= reserved) return;
    const free = await freeBytes(parts);
    const entry = parts.ledger.uploads.get(name);
    this.#demandOpen();
    if (entry) parts.ledger.reserveStep(name, entry, [end, this.#options.pieceSize], free);
  }

  async #writeAll(chunk: Buffer): Promise<void> {
    const { pieceSize, whole } = this.#options;
    for (let at = 0; at < chunk.length; ) {
      const draft = this.#draft ?? (await this.#newDraft());
      const part = chunk.subarray(at, at + pieceSize - draft.length);
      await draft.write(part, () => whole.update(part));
      at += part.length;
      this.#received += part.length;
      // It may have been closed, or failed, meanwhile.
      this.#demandOpen();
      if (draft.length === pieceSize) await this.#commitBehind(draft);
    }
  }

  async #newDraft(): Promise<PieceDraft> {
    const draft = await this.#options.parts.pieces.files.draft();
    // It may have been closed meanwhile: then nobody else would throw this one away.
    if (this.#failure !== undefined) await draft.discard();
    this.#demandOpen();
    this.#draft = draft;
    return draft;
  }

  /** Starts the commit of a full piece, and waits for an earlier one when too many are under way. */
  async #commitBehind(draft: PieceDraft): Promise<void> {
    this.#draft = undefined;
    const whole = { size: this.#received, hash: this.#options.whole.copy() };
    const done = this.#commit(draft, whole);
    done.catch(error => {
      this.#failure ??= error;
    });
    this.#behind.push(done);
    if (this.#behind.length > PIECES_BEHIND) await this.#behind.shift();
  }

  async #commit(draft: PieceDraft, whole: WholeSoFar): Promise<void> {
    const behind = this.#last;
    let entered = (): void => undefined;
    let failed = (_: unknown): void => undefined;
    this.#last = new Promise((resolve, reject) => {
      entered = resolve;
      failed = reject;
    });
    this.#last.catch(() => undefined);
    const refer = (view: IndexView): Promise<number> => this.#advance(view, draft, whole);
    try {
      await this.#options.parts.pieces.enter(draft, refer, { behind, entered });
    } catch (error) {
      failed(error);
      throw error;
    }
  }

  async #advance(view: IndexView, { sha256, length }: PieceDraft, whole: WholeSoFar): Promise<number> {
    const { at, start, size, pieceSize, parts } = this.#options;
    const usedMs = parts.now();
    const none: UploadRow = { start, size, pieceSize, committedSize: 0, tail: Buffer.alloc(0), usedMs };
    const row = (await this.#demandOwn(view, whole.size - length)) ?? none;
    const tail = addDigest(view, at, row, sha256);
    view.putUpload(at, { ...row, tail, committedSize: whole.size, usedMs });
    view.after(() => {
      this.#committedSize = whole.size;
      this.#wholeSoFar = whole;
      this.#digests.push(sha256);
      const name = at.toString('latin1');
      const entry = parts.ledger.uploads.get(name);
      if (entry) parts.ledger.setUpload(name, { ...entry, committedBytes: whole.size, usedMs });
    });
    return 1;
  }

  /** The row of the upload as this writer left it. Throws when it is not this one's any more. */
  async #demandOwn(view: IndexView, committedSize: number): Promise<UploadRow | undefined> {
    const row = await view.upload(this.#options.at);
    if ((row?.committedSize ?? 0) === committedSize) return row;
    throw new FedgateError('UPLOAD_UNKNOWN', 'the upload was removed meanwhile');
  }

  async #publish(also: Also): Promise<HeldContent> {
    const { parts, at, owner, pieceSize, whole } = this.#options;
    this.#demandOpen();
    const draft = this.#draft;
    this.#draft = undefined;
    const pieces = draft ? Buffer.concat([...this.#digests, draft.sha256]) : this.pieces;
    const sha256 = whole.copy().digest();
    const manifest = { size: this.#received, pieceSize, sha256, merkleRoot: merkleRoot(pieces), pieces };
    const id = manifestDigest(manifest);
    const step = async (view: IndexView): Promise<number> => {
      this.taken.throwIfAborted();
      const upload = {
        at,
        owner,
        row: await this.#demandOwn(view, this.#committedSize),
        committedPieces: this.#committedSize / pieceSize,
      };
      return await publish(parts, view, upload, { id, manifest }, also);
    };
    parts.opened.pin(id);
    try {
      if (draft) await parts.pieces.enter(draft, step);
      else await parts.pieces.index.change(step);
      const content = parts.opened.get(id);
      if (!content) throw new FedgateError('INTERNAL', 'a content that was published is not open');
      return new Held(parts, content);
    } catch (error) {
      parts.opened.unpin(id);
      throw error;
    }
  }

  /** What fails here ends the writer. That it was taken over is the better reason: its file was closed under it. */
  async #orFail<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      this.#failure ??= error;
      const draft = this.#draft;
      this.#draft = undefined;
      await draft?.discard();
      this.taken.throwIfAborted();
      throw error;
    }
  }
}
