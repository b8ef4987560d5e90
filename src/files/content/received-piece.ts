import { FedgateError } from '../../errors.js';
import type { PieceDraft } from './piece-draft.js';
import type { PieceWriter } from './types.js';

export interface ReceivedPieceOptions {
  readonly draft: PieceDraft;
  readonly sha256: Buffer;
  readonly length: number;
  /** Makes a piece of the draft that is what it should be. */
  readonly enter: () => Promise<void>;
}

/** A piece that comes from somebody else, and is what it should be or nothing. */
export class ReceivedPiece implements PieceWriter {
  readonly #options: ReceivedPieceOptions;
  #over = false;

  constructor(options: ReceivedPieceOptions) {
    this.#options = options;
  }

  async write(chunk: Buffer): Promise<void> {
    const { draft, length } = this.#options;
    this.#demandOpen();
    try {
      if (draft.length + chunk.length > length) throw this.#mismatch(`more than ${length} bytes`);
      await draft.write(chunk);
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  async finish(): Promise<void> {
    const { draft, sha256, length, enter } = this.#options;
    this.#demandOpen();
    this.#over = true;
    const right = draft.length === length && draft.sha256.equals(sha256);
    if (right) return await enter();
    await draft.discard();
    throw this.#mismatch(draft.length === length ? 'another digest' : `${draft.length} bytes instead of ${length}`);
  }

  async abandon(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#options.draft.discard();
  }

  #demandOpen(): void {
    if (this.#over) throw new RangeError('the piece is over');
  }

  #mismatch(what: string): FedgateError {
    const piece = this.#options.sha256.toString('hex');
    return new FedgateError('PIECE_MISMATCH', `piece ${piece} is not what the manifest says: ${what}`, {
      metadata: { piece },
    });
  }
}
