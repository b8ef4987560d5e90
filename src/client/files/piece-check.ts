import { createHash, type Hash } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import type { Manifest } from '../../files/types.js';

/**
 * Checks bytes that come in order against a manifest: each piece that came from its first byte to its last, and the whole when all came. Or
 * the whole alone: whoever keeps the bytes until then can look for the wrong piece when there is one, and hashes them once instead of twice.
 */
export class PieceCheck {
  readonly #manifest: Manifest;
  /** Of all bytes so far, and of those in verified pieces. Undefined: they do not begin at 0. */
  #whole: Hash | undefined;
  #wholeVerified: Hash | undefined;
  #piece: Hash | undefined;
  #offset: number;
  #verified: number;
  #wholeOnly = false;

  /** `offset`: where the bytes begin. */
  constructor(manifest: Manifest, offset: number) {
    this.#manifest = manifest;
    this.#offset = offset;
    this.#verified = offset;
    this.#wholeVerified = offset === 0 ? createHash('sha256') : undefined;
    this.rewind();
  }

  /** Where the last piece that was found right ends; bytes behind it do not count yet. */
  get verified(): number {
    return this.#verified;
  }

  /** Where the next byte belongs. */
  get offset(): number {
    return this.#offset;
  }

  get wholeOnly(): boolean {
    return this.#wholeOnly;
  }

  /** From here on pieces are not looked at. Only where the bytes begin at 0, and behind a piece that was found right. */
  checkWholeOnly(): void {
    this.#wholeOnly = true;
    this.#piece = undefined;
  }

  /** Throws PIECE_MISMATCH when a piece that ends in these bytes is another one. There must not be more bytes than the content has. */
  update(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const pieceEnd = this.#pieceEnd;
      const part = bytes.subarray(at, at + pieceEnd - this.#offset);
      if (part.length === 0) throw new FedgateError('INTERNAL', 'more bytes than the content has were to be checked');
      this.#whole?.update(part);
      this.#piece?.update(part);
      this.#offset += part.length;
      at += part.length;
      if (this.#offset === pieceEnd) this.#endPiece();
    }
  }

  /** Goes back to the end of the last piece that was found right. */
  rewind(): void {
    this.#offset = this.#verified;
    this.#whole = this.#wholeVerified?.copy();
    this.#beginPiece();
  }

  /** To be called behind the last byte of the content. Throws MANIFEST_INVALID when every piece is right and the whole is not. */
  end(): void {
    if (this.#whole && !this.#whole.digest().equals(this.#manifest.sha256))
      throw new FedgateError(
        'MANIFEST_INVALID',
        'every piece of the file is right and the whole is not: its manifest lies',
      );
  }

  /** The end of the piece that the next byte belongs to. At the very end: that of the last. */
  get #pieceEnd(): number {
    const { pieceSize, size } = this.#manifest;
    return Math.min(size, (Math.floor(this.#offset / pieceSize) + 1) * pieceSize);
  }

  #beginPiece(): void {
    const { pieceSize, size } = this.#manifest;
    this.#piece =
      !this.#wholeOnly && this.#offset % pieceSize === 0 && this.#offset < size ? createHash('sha256') : undefined;
  }

  #endPiece(): void {
    if (this.#wholeOnly) return;
    const { pieceSize, pieces } = this.#manifest;
    const index = Math.ceil(this.#offset / pieceSize) - 1;
    const right = pieces.subarray(index * 32, index * 32 + 32);
    if (this.#piece && !this.#piece.digest().equals(right))
      throw new FedgateError('PIECE_MISMATCH', `piece ${index} of the file is not what its manifest says`);
    this.#verified = this.#offset;
    this.#wholeVerified = this.#whole?.copy();
    this.#beginPiece();
  }
}
