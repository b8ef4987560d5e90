import { createHash } from 'node:crypto';
import { ShareStart } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { choosePieceSize } from '../manifest.js';
import { closed, freeBytes, type Parts } from './parts.js';
import { sameStart, UPLOAD_ID_BYTES, type UploadRow, uploadKey } from './rows.js';
import { Turns } from './turns.js';
import type { Upload, UploadStart } from './types.js';
import { digestsOf, removeUpload } from './upload-digests.js';
import { wholeOf } from './upload-resume.js';
import { UploadWriter, type WholeSoFar } from './upload-writer.js';

/** Who writes to an upload, or is about to. */
interface Claim {
  readonly start: Buffer;
  readonly taken: AbortController;
  writer: UploadWriter | undefined;
}

interface Found {
  readonly row: UploadRow;
  /** Undefined: a row of them is damaged. */
  readonly pieces: Buffer | undefined;
}

interface Reserving {
  readonly owner: string;
  readonly size: number | undefined;
  readonly pieceSize: number;
  readonly committedBytes: number;
}

/** Uploads: one writer for each, the newest; what they reserve; what is left of them when their writers are gone. */
export class Uploads {
  readonly #parts: Parts;
  readonly #claims = new Map<string, Claim>();
  readonly #turns = new Turns();
  /** Of uploads that nobody writes to just now. */
  readonly #wholes = new Map<string, WholeSoFar>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async open({ owner, uploadId, size, start }: UploadStart): Promise<Upload> {
    if (this.#parts.closing.aborted) throw closed();
    if (uploadId.length !== UPLOAD_ID_BYTES) throw fieldError('upload_id', `must have ${UPLOAD_ID_BYTES} bytes`);
    if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) throw fieldError('size', 'is no size');
    const pieceSize = choosePieceSize(size);
    const at = uploadKey(owner, uploadId);
    const name = at.toString('latin1');
    const claim = this.#claim(name, startOf(start, size));
    try {
      return await this.#turns.run(name, () => this.#open(claim, { at, owner, size, pieceSize }));
    } catch (error) {
      this.#leave(name, claim);
      throw error;
    }
  }

  async find(owner: string, uploadId: Buffer) {
    const at = uploadKey(owner, uploadId);
    const found = await this.#find(at);
    if (!found?.pieces || found.row.committedSize === 0) return undefined;
    const { committedSize, pieceSize } = found.row;
    return { committedSize, pieceSize, pieces: found.pieces };
  }

  /** Ends whoever writes to it, and removes it with what it reserved. */
  async cancel(owner: string, uploadId: Buffer): Promise<void> {
    const at = uploadKey(owner, uploadId);
    const claim = this.#claims.get(at.toString('latin1'));
    claim?.taken.abort(new FedgateError('CANCELLED', 'the upload was cancelled'));
    await this.#turns.run(at.toString('latin1'), async () => {
      await claim?.writer?.close();
      await this.#remove(at);
    });
  }

  /** Removes those that nobody went on with since a time. Answers how many. */
  async sweep(beforeMs: number): Promise<number> {
    let removed = 0;
    for (const [name, { usedMs }] of [...this.#parts.ledger.uploads]) {
      if (usedMs >= beforeMs || this.#claims.has(name)) continue;
      await this.#turns.run(name, async () => {
        if (this.#claims.has(name)) return;
        await this.#remove(Buffer.from(name, 'latin1'));
        removed++;
      });
    }
    return removed;
  }

  /** Ends all writers. Resolves when none of them writes any more. */
  async close(): Promise<void> {
    const claims = [...this.#claims];
    for (const [, { taken }] of claims) taken.abort(closed());
    await Promise.all(
      claims.map(([name, claim]) =>
        this.#turns.run(name, async () => {
          await claim.writer?.close();
        }),
      ),
    );
  }

  /** From now on whoever writes to it is over. Throws UPLOAD_MISMATCH, and then nobody is. */
  #claim(name: string, start: Buffer): Claim {
    const before = this.#claims.get(name);
    if (before && !before.start.equals(start)) throw mismatch();
    const claim: Claim = { start, taken: new AbortController(), writer: undefined };
    this.#claims.set(name, claim);
    if (before) {
      before.taken.abort(new FedgateError('UPLOAD_TAKEN', 'another call goes on with the same upload'));
      // In front of the turn of who claims it now: what the one before committed is then known.
      void this.#turns.run(name, async () => before.writer?.close());
    }
    return claim;
  }

  async #open(
    claim: Claim,
    { at, owner, size, pieceSize }: { at: Buffer; owner: string; size: number | undefined; pieceSize: number },
  ): Promise<Upload> {
    const { taken, start } = claim;
    const name = at.toString('latin1');
    const found = await this.#find(at);
    if (found && !found.row.start.equals(start)) throw mismatch();
    const committedSize = found?.row.committedSize ?? 0;
    await this.#reserve(name, { owner, size, pieceSize, committedBytes: committedSize });
    const pieces = found ? found.pieces : Buffer.alloc(0);
    const whole = await this.#whole(name, found, taken.signal).catch(error => this.#giveUp(at, error));
    taken.signal.throwIfAborted();
    claim.writer = new UploadWriter({
      ...{ parts: this.#parts, at, owner, start, size, committedSize, whole },
      pieces: pieces ?? Buffer.alloc(0),
      pieceSize: found?.row.pieceSize ?? pieceSize,
      taken: taken.signal,
      onClose: () => this.#leave(name, claim),
    });
    return claim.writer;
  }

  /** The whole-file digest of what is committed, from memory or read again. */
  async #whole(name: string, found: Found | undefined, signal: AbortSignal) {
    if (!found) return createHash('sha256');
    const known = this.#wholes.get(name);
    if (found.pieces && known?.size === found.row.committedSize) return known.hash.copy();
    return await wholeOf(this.#parts.pieces, found.row, found.pieces, signal);
  }

  /** What is committed of an upload is damaged. Its committed size may not fall, so it is removed as a whole. */
  async #giveUp(at: Buffer, error: unknown): Promise<never> {
    if (error instanceof FedgateError && error.reason === 'FILE_DAMAGED') await this.#remove(at);
    throw error;
  }

  async #reserve(name: string, { owner, size, pieceSize, committedBytes }: Reserving): Promise<void> {
    const { ledger, now } = this.#parts;
    if (ledger.uploads.has(name)) return;
    const free = await freeBytes(this.#parts);
    const entry = { owner, committedBytes, usedMs: now() };
    if (size === undefined) ledger.reserveStep(name, entry, [committedBytes, pieceSize], free);
    else ledger.reserveUpload(name, { ...entry, reservedBytes: size }, free);
  }

  #find(at: Buffer): Promise<Found | undefined> {
    return this.#parts.pieces.index.change(async view => {
      const row = await view.upload(at);
      return row && { row, pieces: await digestsOf(view, at, row) };
    });
  }

  async #remove(at: Buffer): Promise<void> {
    const { pieces, ledger } = this.#parts;
    const name = at.toString('latin1');
    await pieces.index.change(async view => {
      const row = await view.upload(at);
      if (row) await removeUpload(view, at, row);
      else view.removeUpload(at, 0);
      view.after(() => ledger.setUpload(name, undefined));
    });
    this.#wholes.delete(name);
  }

  /** A writer writes no more. Of what nothing was committed, nothing is left. */
  #leave(name: string, claim: Claim): void {
    const { ledger } = this.#parts;
    const entry = ledger.uploads.get(name);
    // Also for the one that took it over.
    if (entry && claim.writer) this.#wholes.set(name, claim.writer.wholeSoFar);
    if (this.#claims.get(name) !== claim) return;
    this.#claims.delete(name);
    if (entry?.committedBytes === 0) ledger.setUpload(name, undefined);
    if (!ledger.uploads.has(name)) this.#wholes.delete(name);
  }
}

const mismatch = (): FedgateError =>
  new FedgateError('UPLOAD_MISMATCH', 'the upload was begun with another size, name or audience');

/** How it begins, as it is compared and stored. */
function startOf(start: Buffer, size: number | undefined): Buffer {
  let message: ShareStart;
  try {
    message = ShareStart.decode(start);
  } catch (error) {
    throw new FedgateError('FRAME_MALFORMED', 'the start of the upload cannot be read', { cause: error });
  }
  if ((message.size === undefined ? undefined : Number(message.size)) !== size) {
    throw fieldError('size', 'is another one than that of the start');
  }
  return sameStart(start);
}
