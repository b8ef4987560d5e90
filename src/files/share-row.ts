import type { Share } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FileShareRow } from '../../gen/ts/fedgate/store/v1/file.js';
import { storedAudience } from './audience.js';
import { formatShareId, parseShareId } from './share-id.js';
import type { OwnShare, ShareFacts } from './types.js';

/** Tables of the store. */
export const SHARE = 'file-share';
export const DOWNLOAD = 'file-download';

/** A share with what only its gateway knows of it. */
export interface StoredShare extends OwnShare {
  readonly uploadId: Buffer;
  /** SHA-256 of how the upload began. */
  readonly startSha256: Buffer;
  /** 0: it was not unshared. */
  readonly unsharedMs: number;
}

export function encodeShare({ uploadId, startSha256, unsharedMs, ...share }: StoredShare): Buffer {
  return Buffer.from(
    FileShareRow.encode({
      share: ownShareMessage(share),
      uploadId,
      startSha256,
      unsharedMs: BigInt(unsharedMs),
    }).finish(),
  );
}

/** Throws an Error when it is not a share. */
export function decodeShare(value: Buffer): StoredShare {
  const { share, uploadId, startSha256, unsharedMs } = FileShareRow.decode(value);
  if (!share) throw new Error('a row without a share');
  return {
    ...toFacts(share),
    audience: storedAudience(share.audience),
    downloads: share.downloads,
    uploadId: Buffer.from(uploadId),
    startSha256: Buffer.from(startSha256),
    unsharedMs: Number(unsharedMs),
  };
}

/** What whoever may fetch it is told. */
export const shareMessage = (share: ShareFacts): Share => ({
  id: formatShareId(share),
  ownerNode: share.ownerNode,
  name: share.name,
  mediaType: share.mediaType,
  size: BigInt(share.size),
  sha256: share.sha256,
  manifestSha256: share.manifestSha256,
  audience: undefined,
  createTimeMs: BigInt(share.createMs),
  expireTimeMs: BigInt(share.expireMs),
  maxDownloads: share.maxDownloads,
  downloads: 0,
  requiresApproval: share.requiresApproval,
});

/** What its owner's organisation is told. */
export const ownShareMessage = (share: OwnShare): Share => ({
  ...shareMessage(share),
  audience: share.audience,
  downloads: share.downloads,
});

const toFacts = (share: Share): ShareFacts => ({
  ...parseShareId(share.id, 'id'),
  ownerNode: share.ownerNode,
  name: share.name,
  mediaType: share.mediaType,
  size: Number(share.size),
  sha256: Buffer.from(share.sha256),
  manifestSha256: Buffer.from(share.manifestSha256),
  createMs: Number(share.createTimeMs),
  expireMs: Number(share.expireTimeMs),
  maxDownloads: share.maxDownloads,
  requiresApproval: share.requiresApproval,
});
