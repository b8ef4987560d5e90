import { createHash } from 'node:crypto';
import type { Manifest as ManifestMessage } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../errors.js';
import type { SharedFile } from './types.js';

/** What a content is made of, as this process checked it. */
export interface Manifest {
  readonly size: number;
  readonly pieceSize: number;
  /** Of the whole content. */
  readonly sha256: Buffer;
  /** The digests of the pieces in order, 32 bytes each. */
  readonly pieces: Buffer;
}

const DIGEST_BYTES = 32;
const LEAST_PIECE = 1024 * 1024;
const LARGEST_PIECE = 16 * 1024 * 1024;
const MOST_PIECES = 65_536;

/**
 * Checks a manifest against the digest that the share names: so all pieces are bound to it, and to nothing else. Throws MANIFEST_INVALID.
 */
export function checkManifest(message: ManifestMessage | undefined, share: SharedFile): Manifest {
  if (!message) throw invalid('the gateway left it out of its answer');
  const { pieceSize } = message;
  const size = Number(message.size);
  const pieces = Buffer.from(message.pieceSha256);
  const isPower = pieceSize >= LEAST_PIECE && pieceSize <= LARGEST_PIECE && Number.isInteger(Math.log2(pieceSize));
  if (!isPower) throw invalid(`a piece size of ${pieceSize}`);
  if (size !== share.size) throw invalid(`${size} bytes, and the share has ${share.size}`);
  const count = Math.ceil(size / pieceSize);
  if (count > MOST_PIECES || pieces.length !== count * DIGEST_BYTES) throw invalid('a wrong number of pieces');
  if (!merkleRoot(pieces).equals(message.merkleRoot)) throw invalid('its pieces do not have its root');
  const sha256 = Buffer.from(message.sha256);
  if (sha256.toString('hex') !== share.sha256) throw invalid('its content has another digest');
  const root = Buffer.from(message.merkleRoot);
  if (manifestDigest({ size, pieceSize, sha256, root }).toString('hex') !== share.manifestSha256)
    throw invalid('it does not have the digest that the share names');
  return { size, pieceSize, sha256, pieces };
}

/** The digest of a manifest, as file_service.proto defines it. */
export function manifestDigest(manifest: {
  readonly size: number;
  readonly pieceSize: number;
  readonly sha256: Buffer;
  readonly root: Buffer;
}): Buffer {
  const numbers = Buffer.alloc(12);
  numbers.writeBigUInt64BE(BigInt(manifest.size), 0);
  numbers.writeUInt32BE(manifest.pieceSize, 8);
  return sha256Of('fedgate/manifest/v1\n', numbers, manifest.sha256, manifest.root);
}

/** The root of the tree of RFC 9162, section 2.1.1, over digests of 32 bytes, one after the other. */
export function merkleRoot(pieces: Buffer): Buffer {
  const count = pieces.length / DIGEST_BYTES;
  if (count === 0) return sha256Of('');
  if (count === 1) return sha256Of('\0', pieces);
  // The largest power of two below the count.
  const left = 2 ** Math.floor(Math.log2(count - 1)) * DIGEST_BYTES;
  return sha256Of('\u0001', merkleRoot(pieces.subarray(0, left)), merkleRoot(pieces.subarray(left)));
}

function sha256Of(...parts: readonly (string | Buffer)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

const invalid = (what: string): FedgateError =>
  new FedgateError('MANIFEST_INVALID', `the manifest of the share breaks its rules: ${what}`);
