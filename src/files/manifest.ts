import { createHash, hash } from 'node:crypto';
import type { Manifest as ManifestMessage } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../errors.js';
import type { Manifest } from './types.js';

const MIB = 1024 * 1024;

export const MIN_PIECE_BYTES = MIB;
export const MAX_PIECE_BYTES = 16 * MIB;
/** What a content is cut into unless it is too large for it: a piece takes a blink on a fast line, and is not much to ask for again. */
export const USUAL_PIECE_BYTES = 4 * MIB;
/** Bounds a manifest to 2 MiB, and a content to 1 TiB. */
export const MAX_PIECES = 65_536;
export const MAX_CONTENT_BYTES = MAX_PIECES * MAX_PIECE_BYTES;

const DIGEST_BYTES = 32;
const DOMAIN = Buffer.from('fedgate/manifest/v1\n');

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');
const invalid = (what: string): FedgateError => new FedgateError('MANIFEST_INVALID', `the manifest is wrong: ${what}`);

/** The piece size for a content of so many bytes. Throws LIMIT_REACHED for more than a manifest can name. */
export function choosePieceSize(size: number | undefined): number {
  let pieceSize = USUAL_PIECE_BYTES;
  while (size !== undefined && size > pieceSize * MAX_PIECES) pieceSize *= 2;
  if (pieceSize <= MAX_PIECE_BYTES) return pieceSize;
  throw new FedgateError('LIMIT_REACHED', `a file of ${size} bytes is too large: there may be ${MAX_CONTENT_BYTES}`, {
    metadata: { limit: String(MAX_CONTENT_BYTES) },
  });
}

type Shape = Pick<Manifest, 'size' | 'pieceSize'>;

export const pieceCount = ({ size, pieceSize }: Shape): number => Math.ceil(size / pieceSize);

/** Bytes of a piece. Throws a RangeError when there is none of that number. */
export function pieceLength(shape: Shape, index: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= pieceCount(shape)) throw new RangeError(`no piece ${index}`);
  return Math.min(shape.pieceSize, shape.size - index * shape.pieceSize);
}

/** The SHA-256 of a piece: a view into the manifest. */
export const pieceDigest = ({ pieces }: Pick<Manifest, 'pieces'>, index: number): Buffer =>
  pieces.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);

/**
 * The root of the tree of RFC 9162, section 2.1.1, over digests of 32 bytes. Leaves and nodes are hashed behind different bytes, so that
 * neither can be presented as the other.
 *
 * The tree splits at the largest power of two below the number of leaves. That is the same as joining neighbours level by level and taking
 * one without a neighbour along as it is.
 */
export function merkleRoot(pieces: Buffer): Buffer {
  let count = pieces.length / DIGEST_BYTES;
  if (!Number.isInteger(count)) throw new RangeError(`${pieces.length} bytes are not digests`);
  if (count === 0) return sha256(Buffer.alloc(0));
  const level = Buffer.allocUnsafe(pieces.length);
  const leaf = Buffer.alloc(1 + DIGEST_BYTES, 0);
  for (let i = 0; i < count; i++) {
    pieces.copy(leaf, 1, i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES);
    sha256(leaf).copy(level, i * DIGEST_BYTES);
  }
  const node = Buffer.alloc(1 + 2 * DIGEST_BYTES, 1);
  while (count > 1) {
    const pairs = count >> 1;
    for (let i = 0; i < pairs; i++) {
      level.copy(node, 1, 2 * i * DIGEST_BYTES, 2 * (i + 1) * DIGEST_BYTES);
      sha256(node).copy(level, i * DIGEST_BYTES);
    }
    if (count % 2 === 1) level.copy(level, pairs * DIGEST_BYTES, (count - 1) * DIGEST_BYTES, count * DIGEST_BYTES);
    count -= pairs;
  }
  return Buffer.from(level.subarray(0, DIGEST_BYTES));
}

/** What names a content: SHA-256 over all that its manifest says. The pieces are in it by their root. */
export function manifestDigest({ size, pieceSize, sha256: whole, merkleRoot: root }: Manifest): Buffer {
  const numbers = Buffer.allocUnsafe(12);
  numbers.writeBigUInt64BE(BigInt(size));
  numbers.writeUInt32BE(pieceSize, 8);
  return createHash('sha256').update(DOMAIN).update(numbers).update(whole).update(root).digest();
}

/** Throws MANIFEST_INVALID unless it keeps the rules and its pieces have its root. Whether its whole-file digest is right is not known from it. */
export function checkManifest(manifest: Manifest): void {
  const { size, pieceSize, sha256: whole, merkleRoot: root, pieces } = manifest;
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_CONTENT_BYTES) throw invalid(`a size of ${size} bytes`);
  if (!isPieceSize(pieceSize)) throw invalid(`a piece size of ${pieceSize} bytes`);
  const count = pieceCount(manifest);
  if (count > MAX_PIECES) throw invalid(`${count} pieces, more than ${MAX_PIECES}`);
  if (pieces.length !== count * DIGEST_BYTES) throw invalid(`${pieces.length} bytes of digests for ${count} pieces`);
  if (whole.length !== DIGEST_BYTES) throw invalid(`a digest of ${whole.length} bytes`);
  if (root.length !== DIGEST_BYTES) throw invalid(`a root of ${root.length} bytes`);
  if (!merkleRoot(pieces).equals(root)) throw invalid('its root is not that of its pieces');
}

const isPieceSize = (bytes: number): boolean =>
  Number.isInteger(bytes) && bytes >= MIN_PIECE_BYTES && bytes <= MAX_PIECE_BYTES && (bytes & (bytes - 1)) === 0;

export const manifestToProto = (manifest: Manifest): ManifestMessage => ({
  size: BigInt(manifest.size),
  pieceSize: manifest.pieceSize,
  sha256: manifest.sha256,
  merkleRoot: manifest.merkleRoot,
  pieceSha256: manifest.pieces,
});

/** The manifest a message says, checked. Throws MANIFEST_INVALID, before anything is allocated for what it claims. */
export function manifestFromProto(message: ManifestMessage | undefined): Manifest {
  if (!message) throw invalid('there is none');
  if (message.size > BigInt(MAX_CONTENT_BYTES)) throw invalid(`a size of ${message.size} bytes`);
  const manifest = storedManifest(message);
  checkManifest(manifest);
  return manifest;
}

/** A manifest that was checked before it was stored. */
export const storedManifest = (message: ManifestMessage): Manifest => ({
  size: Number(message.size),
  pieceSize: message.pieceSize,
  sha256: viewOf(message.sha256),
  merkleRoot: viewOf(message.merkleRoot),
  pieces: viewOf(message.pieceSha256),
});

const viewOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
