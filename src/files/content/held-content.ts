import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { pieceDigest, pieceLength } from '../manifest.js';
import type { Manifest } from '../types.js';
import type { IndexView } from './index-view.js';
import { entryOf } from './ledger.js';
import { contentBad, digestsOfHeld, type OpenedContent } from './opened-contents.js';
import type { Parts } from './parts.js';
import { readPiece } from './piece-reader.js';
import { ReceivedPiece } from './received-piece.js';
import type { HeldContent, PieceWriter } from './types.js';

/** How old the note of its last use may be: each one writes the manifest again. */
const TOUCH_MS = 60_000;

/** One hold on a content. */
export class Held implements HeldContent {
  readonly #parts: Parts;
  readonly #content: OpenedContent;
  #released = false;

  /** The content is pinned for it. */
  constructor(parts: Parts, content: OpenedContent) {
    this.#parts = parts;
    this.#content = content;
  }

  get manifest(): Manifest {
    return this.#content.manifest;
  }

  get id(): Buffer {
    return this.#content.id;
  }

  get verified(): boolean {
    return this.#content.verified;
  }

  has(index: number): boolean {
    const { held, manifest } = this.#content;
    return held.has(index) && !this.#parts.pieces.isLost(pieceDigest(manifest, index));
  }

  bytesHeld(offset: number, length: number): number {
    const { pieceSize, size } = this.manifest;
    const end = Math.min(offset + length, size);
    let bytes = 0;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / pieceSize);
      const next = Math.min((index + 1) * pieceSize, end);
      if (this.has(index)) bytes += next - at;
      at = next;
    }
    return bytes;
  }

  async *readPiece(index: number, offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const length = pieceLength(this.manifest, index);
    if (offset < 0 || offset > length) throw new RangeError(`no byte ${offset} in a piece of ${length}`);
    this.#demandGood();
    const sha256 = pieceDigest(this.manifest, index);
    if (!this.has(index)) {
      const name = sha256.toString('hex');
      throw new FedgateError('FILE_DAMAGED', `piece ${name} is not there`, { metadata: { piece: name } });
    }
    for await (const chunk of readPiece(this.#parts.pieces, { sha256, length, offset }, signal)) {
      this.#demandGood();
      yield chunk;
    }
  }

  async receive(index: number): Promise<PieceWriter | undefined> {
    const length = pieceLength(this.manifest, index);
    this.#demandGood();
    if (this.has(index)) return undefined;
    const { pieces } = this.#parts;
    const sha256 = pieceDigest(this.manifest, index);
    const { org } = this.#content;
    const refer = (view: IndexView): Promise<number> => this.#refer(view, index);
    if (await pieces.adopt(sha256, length, refer, org)) return undefined;
    const draft = await pieces.files.draft();
    return new ReceivedPiece({ draft, sha256, length, enter: () => pieces.enter(draft, refer, { org }) });
  }

  async judge(right: boolean): Promise<void> {
    const { index } = this.#parts.pieces;
    const content = this.#content;
    if (content.verified || content.bad) return;
    if (!right) return await this.#condemn();
    await index.change(async view => {
      const row = await view.content(content.id);
      if (!row?.manifest) return;
      view.putContent(content.id, { ...row, verified: true });
      view.after(() => {
        content.verified = true;
      });
    });
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    const { opened, onEvent } = this.#parts;
    if (!opened.unpin(this.id)) return;
    // That it was used is worth a row, but nobody waits for it.
    void this.#touch().catch(error => onEvent({ kind: 'failed', what: 'touch', error }));
  }

  #demandGood(): void {
    if (this.#released) throw new RangeError('the content was released');
    if (this.#content.bad) throw contentBad(this.id);
  }

  /** Lets go of all pieces. What stays says that the content is bad. */
  async #condemn(): Promise<void> {
    const { pieces, ledger, onEvent } = this.#parts;
    const content = this.#content;
    try {
      await pieces.index.change(async view => {
        const row = await view.content(content.id);
        if (!row?.manifest || row.verified) return;
        // At once: the steps behind this one must not add to it.
        content.bad = true;
        await view.dropPieces(digestsOfHeld(row.manifest, await view.held(content.id, row.manifest)));
        const bad = { ...row, manifest: undefined };
        view.removeContent(content.id);
        view.putContent(content.id, bad);
        view.after(() => {
          content.held.clear();
          ledger.setContent(content.id.toString('hex'), entryOf(bad, 0));
          onEvent({ kind: 'content-bad', id: content.id });
        });
      });
    } catch (error) {
      content.bad = false;
      throw error;
    }
  }

  /** Has a place refer to its piece. */
  async #refer(view: IndexView, index: number): Promise<number> {
    const { id, manifest, bad } = this.#content;
    // Asked of memory: the row holds the manifest, and would be read again for each piece. It is pinned, so it is there.
    if (bad) throw contentBad(id);
    const held = await view.held(id, manifest);
    const added = held.has(index) ? 0 : 1;
    held.set(index);
    view.putHeld(id, held);
    view.after(() => this.#referred(index, added));
    return added;
  }

  #referred(index: number, added: number): void {
    const { ledger, now } = this.#parts;
    const { id, manifest, held } = this.#content;
    held.set(index);
    const name = id.toString('hex');
    const before = ledger.contents.get(name);
    if (!before) return;
    const heldBytes = before.heldBytes + added * pieceLength(manifest, index);
    ledger.setContent(name, { ...before, heldBytes, usedMs: now() });
  }

  async #touch(): Promise<void> {
    const { pieces, ledger, now, closing } = this.#parts;
    const name = this.id.toString('hex');
    const entry = ledger.contents.get(name);
    const usedMs = now();
    if (!entry) return;
    ledger.setContent(name, { ...entry, usedMs });
    if (closing.aborted) return;
    await pieces.index.change(async view => {
      const row = await view.content(this.id);
      if (row && usedMs - row.usedMs >= TOUCH_MS) view.putContent(this.id, { ...row, usedMs });
    });
  }
}

/** What is committed of a content, and its entry in the ledger. For steps that read it. */
export async function loadContent(view: IndexView, id: Buffer, org?: OrgName): Promise<OpenedContent | undefined> {
  const row = await view.content(id);
  if (!row) return undefined;
  if (!row.manifest) throw contentBad(id);
  const held = await view.held(id, row.manifest);
  return { id, org, manifest: row.manifest, held, verified: row.verified, bad: false };
}
