import {
  type Manifest as ManifestMessage,
  type Share,
  ShareStart,
  Transfer_Kind,
  Transfer_State,
  type Transfer as TransferMessage,
} from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { type Groups, parseAudience } from '../files/audience.js';
import { parseDisplayName, parseMediaType } from '../files/display-name.js';
import { MAX_CONTENT_BYTES } from '../files/manifest.js';
import type { Place } from '../files/share-index.js';
import { ownShareMessage, type StoredShare } from '../files/share-row.js';
import type { ShareTerms } from '../files/shares.js';
import type { TransferKind, TransferState, TransferView } from '../files/transfers.js';
import type { Manifest } from '../files/types.js';
import { sha256 } from '../sha256.js';
import { malformed } from '../wire/reader.js';

/** Between the messages of file_service.proto and what they mean. */

const ID_BYTES = 16;
const MAX_TIME_MS = 8.64e15;

/** How a share begins, checked. */
export interface CheckedStart {
  readonly terms: ShareTerms;
  readonly size: number | undefined;
  /** The message in the one form that a repeated call is compared with. */
  readonly encoded: Buffer;
}

/** Throws FRAME_MALFORMED, or FIELD_INVALID with the path of the field. */
export function readShareStart(opening: Buffer, ownerNode: string, groups: Groups): CheckedStart {
  const start = decodeStart(opening);
  const encoded = Buffer.from(ShareStart.encode(start).finish());
  return {
    encoded,
    size: start.size === undefined ? undefined : readSize(start.size),
    terms: {
      ownerNode,
      uploadId: readId(start.uploadId, 'start.upload_id'),
      startSha256: sha256(encoded),
      name: parseDisplayName(start.name, 'start.name'),
      mediaType: parseMediaType(start.mediaType, 'start.media_type'),
      audience: parseAudience(start.audience, groups, 'start.audience'),
      expireMs: readTime(start.expireTimeMs, 'start.expire_time_ms'),
      maxDownloads: start.maxDownloads,
      requiresApproval: start.requiresApproval,
    },
  };
}

function decodeStart(opening: Buffer): ShareStart {
  try {
    return ShareStart.decode(opening);
  } catch {
    throw malformed('a ShareStart');
  }
}

function readSize(size: bigint): number {
  if (size <= BigInt(MAX_CONTENT_BYTES)) return Number(size);
  throw fieldError('start.size', `is over ${MAX_CONTENT_BYTES}, the most that a file may have`);
}

export function readId(bytes: Uint8Array, field: string): Buffer {
  if (bytes.length !== ID_BYTES) throw fieldError(field, `has ${bytes.length} bytes instead of ${ID_BYTES}`);
  return Buffer.from(bytes);
}

/** A time, or 0 for never. Throws FIELD_INVALID when it is neither. */
export function readTime(timeMs: bigint, field: string): number {
  if (timeMs >= 0n && timeMs <= BigInt(MAX_TIME_MS)) return Number(timeMs);
  throw fieldError(field, `is ${timeMs}, which is no time after 1970`);
}

/** Throws FIELD_INVALID for a time that is over. */
export function checkFuture(timeMs: number, nowMs: number, field: string): void {
  if (timeMs > 0 && timeMs <= nowMs) throw fieldError(field, 'lies in the past');
}

/** An offset or a length. Throws OFFSET_INVALID for what no content is as large as. */
export function readOffset(value: bigint): number {
  if (value <= BigInt(MAX_CONTENT_BYTES)) return Number(value);
  throw new FedgateError('OFFSET_INVALID', `no file has ${value} bytes`, {
    metadata: { size: String(MAX_CONTENT_BYTES) },
  });
}

/** A share as its own organisation sees it. */
export const toOwnShare = (share: StoredShare): Share => ownShareMessage(share);

export const toManifest = ({ size, pieceSize, sha256, merkleRoot, pieces }: Manifest): ManifestMessage => ({
  size: BigInt(size),
  pieceSize,
  sha256,
  merkleRoot,
  pieceSha256: pieces,
});

const KINDS: { readonly [kind in TransferKind]: Transfer_Kind } = {
  upload: Transfer_Kind.KIND_UPLOAD,
  fetch: Transfer_Kind.KIND_FETCH,
  send: Transfer_Kind.KIND_SEND,
};
const STATES: { readonly [state in TransferState]: Transfer_State } = {
  active: Transfer_State.STATE_ACTIVE,
  done: Transfer_State.STATE_DONE,
  ended: Transfer_State.STATE_ENDED,
};

export const toTransfer = (transfer: TransferView): TransferMessage => ({
  id: transfer.id,
  kind: KINDS[transfer.kind],
  state: STATES[transfer.state],
  shareId: transfer.shareId,
  name: transfer.name,
  org: transfer.org,
  node: transfer.node,
  totalBytes: BigInt(transfer.totalBytes),
  doneBytes: BigInt(transfer.doneBytes),
  receivedBytes: BigInt(transfer.receivedBytes),
  startTimeMs: BigInt(transfer.startMs),
  error: transfer.error,
});

const TOKEN = /^[0-9a-f]{48}$/;

export function toPageToken(place: Place | undefined): string {
  if (!place) return '';
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(place.createMs));
  return time.toString('hex') + place.id.toString('hex');
}

/** Undefined: from the first. Throws FIELD_INVALID. */
export function readPageToken(token: string): Place | undefined {
  if (token === '') return undefined;
  if (!TOKEN.test(token)) throw fieldError('page_token', 'is not one that was given out');
  const bytes = Buffer.from(token, 'hex');
  return { createMs: Number(bytes.readBigUInt64BE()), id: bytes.subarray(8) };
}
