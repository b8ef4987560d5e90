import { setImmediate } from 'node:timers/promises';
import { FedgateError } from '../../errors.js';
import { key } from '../../store/keys.js';
import { Change, type Store, type Table } from '../../store/store.js';
import { pieceCount } from '../manifest.js';
import type { Manifest } from '../types.js';
import { Bitmap } from './bitmap.js';
import type { OnContentEvent } from './events.js';
import {
  type ContentRow,
  decodeContentRow,
  decodeHeldRow,
  decodePieceRow,
  decodeUploadRow,
  encodeContentRow,
  encodeHeldRow,
  encodePieceRow,
  encodeUploadRow,
  type PieceRow,
  TABLE,
  type UploadRow,
} from './rows.js';

/** Some milliseconds of work. */
const DROPS_PER_TURN = 256;

interface Write {
  readonly table: Table;
  readonly key: Buffer;
  /** Undefined: the row is removed. */
  readonly value: Buffer | undefined;
}

/** What steps wrote and want to have done. */
export class StepWrites {
  readonly rows = new Map<string, Write>();
  readonly additions: Change[] = [];
  readonly freed: Buffer[] = [];
  /** To be called when all of it is committed. */
  readonly after: (() => void)[] = [];

  add(other: StepWrites): void {
    for (const [name, write] of other.rows) this.rows.set(name, write);
    this.additions.push(...other.additions);
    this.freed.push(...other.freed);
    this.after.push(...other.after);
  }

  toChange(change: Change): Change {
    for (const { table, key: at, value } of this.rows.values()) {
      if (value) change.put(table, at, value);
      else change.remove(table, at);
    }
    for (const addition of this.additions) append(change, addition);
    return change;
  }
}

/** The index as one step sees and changes it. Rows that are damaged are not there. */
export class IndexView {
  readonly #store: Store;
  readonly #onEvent: OnContentEvent;
  readonly #before: StepWrites;
  readonly #own = new StepWrites();

  /** `before` is what earlier steps wrote that is not committed yet. */
  constructor(store: Store, onEvent: OnContentEvent, before: StepWrites) {
    this.#store = store;
    this.#onEvent = onEvent;
    this.#before = before;
  }

  /** Has what the step wrote committed. */
  keep(): void {
    this.#before.add(this.#own);
  }

  /** Adds rows of others to the commit. What `add` throws fails the step. */
  also(add: (change: Change) => void): void {
    const addition = new Change();
    add(addition);
    this.#own.additions.push(addition);
  }

  /** Runs when the step is committed, before anything else of the index changes. */
  after(run: () => void): void {
    this.#own.after.push(run);
  }

  piece(sha256: Buffer): Promise<PieceRow | undefined> {
    return this.#get(TABLE.piece, sha256, decodePieceRow);
  }

  putPiece(sha256: Buffer, row: PieceRow): void {
    this.#set(TABLE.piece, sha256, encodePieceRow(row));
  }

  /** One place less refers to a piece. */
  async dropPiece(sha256: Buffer): Promise<void> {
    const row = await this.piece(sha256);
    if (!row) return;
    if (row.references > 1) return this.putPiece(sha256, { ...row, references: row.references - 1 });
    this.removePiece(sha256);
  }

  /** Does so for many, letting others run now and then: a content has up to 65,536 places. */
  async dropPieces(digests: Iterable<Buffer>): Promise<void> {
    let dropped = 0;
    for (const sha256 of digests) {
      await this.dropPiece(sha256);
      if (++dropped % DROPS_PER_TURN === 0) await setImmediate();
    }
  }

  removePiece(sha256: Buffer): void {
    // A copy: the digest may be a view into two megabytes of others.
    const at = Buffer.from(sha256);
    this.#set(TABLE.piece, at, undefined);
    this.#own.freed.push(at);
  }

  content(id: Buffer): Promise<ContentRow | undefined> {
    return this.#get(TABLE.content, id, decodeContentRow);
  }

  putContent(id: Buffer, row: ContentRow): void {
    this.#set(TABLE.content, id, encodeContentRow(row));
  }

  removeContent(id: Buffer): void {
    this.#set(TABLE.content, id, undefined);
    this.#set(TABLE.held, id, undefined);
  }

  async held(id: Buffer, manifest: Manifest): Promise<Bitmap> {
    return new Bitmap(pieceCount(manifest), await this.#get(TABLE.held, id, decodeHeldRow));
  }

  putHeld(id: Buffer, { bytes }: Bitmap): void {
    // A content without pieces has no such row.
    if (bytes.length > 0) this.#set(TABLE.held, id, encodeHeldRow(bytes));
  }

  upload(at: Buffer): Promise<UploadRow | undefined> {
    return this.#get(TABLE.upload, at, decodeUploadRow);
  }

  putUpload(at: Buffer, row: UploadRow): void {
    this.#set(TABLE.upload, at, encodeUploadRow(row));
  }

  removeUpload(at: Buffer, parts: number): void {
    this.#set(TABLE.upload, at, undefined);
    for (let i = 0; i < parts; i++) this.#set(TABLE.uploadPart, key(at, i), undefined);
  }

  uploadPart(at: Buffer, index: number): Promise<Buffer | undefined> {
    return this.#get(TABLE.uploadPart, key(at, index), bytes => bytes);
  }

  putUploadPart(at: Buffer, index: number, digests: Buffer): void {
    this.#set(TABLE.uploadPart, key(at, index), digests);
  }

  async #get<T>(table: Table, at: Buffer, decode: (bytes: Buffer) => T): Promise<T | undefined> {
    const name = nameOf(table, at);
    const write = this.#own.rows.get(name) ?? this.#before.rows.get(name);
    if (write) return write.value && decode(write.value);
    return await storedRow(this.#store, table, at, decode, this.#onEvent);
  }

  #set(table: Table, at: Buffer, value: Buffer | undefined): void {
    const own = Buffer.from(at);
    this.#own.rows.set(nameOf(table, own), { table, key: own, value });
  }
}

function append(change: Change, { puts, removals, ranges, bodies, released }: Change): void {
  change.puts.push(...puts);
  change.removals.push(...removals);
  change.ranges.push(...ranges);
  change.bodies.push(...bodies);
  change.released.push(...released);
}

const nameOf = (table: Table, at: Buffer): string => `${table}/${at.toString('latin1')}`;

/** A committed row; undefined when it is not there, or damaged. Rejects only when the store as a whole cannot be read. */
export async function storedRow<T>(
  store: Store,
  table: Table,
  at: Buffer,
  decode: (bytes: Buffer) => T,
  onEvent: OnContentEvent,
): Promise<T | undefined> {
  let bytes: Buffer | undefined;
  try {
    bytes = await store.get(table, at);
  } catch (error) {
    if (!(error instanceof FedgateError && error.reason === 'STORE_DAMAGED' && 'table' in error.metadata)) throw error;
    onEvent({ kind: 'row-damaged', table, key: at });
    return undefined;
  }
  if (!bytes) return undefined;
  try {
    return decode(bytes);
  } catch {
    onEvent({ kind: 'row-damaged', table, key: at });
    return undefined;
  }
}
