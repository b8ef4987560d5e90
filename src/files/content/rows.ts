import { createHash } from 'node:crypto';
import { ShareStart } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FileContentRow, FileHeldRow, FilePieceRow, FileUploadRow } from '../../../gen/ts/fedgate/store/v1/file.js';
import type { OrgName } from '../../identity/names.js';
import { key } from '../../store/keys.js';
import { manifestToProto, storedManifest } from '../manifest.js';
import type { Manifest } from '../types.js';

/** The rows of content. What stands in them is in file.proto. */
export const TABLE = {
  /** SHA-256 → FilePieceRow */
  piece: 'file-piece',
  /** digest of the manifest, or `remoteKey` → FileContentRow */
  content: 'file-content',
  /** the same → FileHeldRow */
  held: 'file-held',
  /** owner, upload id → FileUploadRow */
  upload: 'file-upload',
  /** owner, upload id, number → the digests of `DIGESTS_PER_PART` committed pieces */
  uploadPart: 'file-upload-part',
} as const;

export const DIGEST_BYTES = 32;
export const UPLOAD_ID_BYTES = 16;
/** Digests of an upload that share a row: what each committed piece writes again is 4 KiB at most. */
export const DIGESTS_PER_PART = 128;
export const PART_BYTES = DIGESTS_PER_PART * DIGEST_BYTES;

export interface PieceRow {
  /** 0: taken out. */
  readonly length: number;
  readonly references: number;
  /** Organisations that have sent it. */
  readonly sentBy: readonly OrgName[];
}

export interface ContentRow {
  /** Undefined: its whole-file digest was found wrong. */
  readonly manifest: Manifest | undefined;
  readonly verified: boolean;
  readonly usedMs: number;
  /** Shares that stand for it, by owner. */
  readonly owners: ReadonlyMap<string, number>;
}

export interface UploadRow {
  /** The encoded ShareStart. */
  readonly start: Buffer;
  /** Undefined: not known. */
  readonly size: number | undefined;
  readonly pieceSize: number;
  readonly committedSize: number;
  /** Digests behind those that stand in rows of their own. */
  readonly tail: Buffer;
  readonly usedMs: number;
}

const REMOTE_DOMAIN = 'fedgate/content/v1\n';

/**
 * The key of a content that another organisation shared. Each has its own, so that what somebody else sent, or an own node shared, is no
 * answer for its share: a digest is known to more people than may read what it is of.
 */
export const remoteKey = (org: OrgName, manifestSha256: Buffer): Buffer =>
  createHash('sha256').update(`${REMOTE_DOMAIN}${org}\n`).update(manifestSha256).digest();

export const uploadKey = (owner: string, uploadId: Buffer): Buffer => key(owner, uploadId);
export const ownerOf = (uploadRowKey: Buffer): string =>
  uploadRowKey.toString('utf8', 0, uploadRowKey.length - UPLOAD_ID_BYTES - 1);

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const encoded = (writer: { finish(): Uint8Array }): Buffer => bufferOf(writer.finish());

export const encodePieceRow = (row: PieceRow): Buffer =>
  encoded(FilePieceRow.encode({ ...row, sentBy: [...row.sentBy] }));
export function decodePieceRow(bytes: Buffer): PieceRow {
  const { length, references, sentBy } = FilePieceRow.decode(bytes);
  return { length, references, sentBy: sentBy as OrgName[] };
}

export const encodeHeldRow = (bits: Uint8Array): Buffer => encoded(FileHeldRow.encode({ bits }));
export const decodeHeldRow = (bytes: Buffer): Uint8Array => FileHeldRow.decode(bytes).bits;

export const sharesOf = ({ owners }: Pick<ContentRow, 'owners'>): number => {
  let sum = 0;
  for (const shares of owners.values()) sum += shares;
  return sum;
};

export const encodeContentRow = (row: ContentRow): Buffer =>
  encoded(
    FileContentRow.encode({
      manifest: row.manifest && manifestToProto(row.manifest),
      verified: row.verified,
      shares: sharesOf(row),
      usedMs: BigInt(row.usedMs),
      bad: row.manifest === undefined,
      owners: Array.from(row.owners, ([node, shares]) => ({ node, shares })),
    }),
  );

export function decodeContentRow(bytes: Buffer): ContentRow {
  const row = FileContentRow.decode(bytes);
  return {
    manifest: row.bad || !row.manifest ? undefined : storedManifest(row.manifest),
    verified: row.verified,
    usedMs: Number(row.usedMs),
    owners: new Map(row.owners.map(({ node, shares }) => [node, shares])),
  };
}

export const encodeUploadRow = (row: UploadRow): Buffer =>
  encoded(
    FileUploadRow.encode({
      start: ShareStart.decode(row.start),
      pieceSize: row.pieceSize,
      pieceSha256: row.tail,
      committedSize: BigInt(row.committedSize),
      usedMs: BigInt(row.usedMs),
      shareId: Buffer.alloc(0),
    }),
  );

export function decodeUploadRow(bytes: Buffer): UploadRow {
  const row = FileUploadRow.decode(bytes);
  const start = row.start ?? ShareStart.create();
  return {
    start: encoded(ShareStart.encode(start)),
    size: start.size === undefined ? undefined : Number(start.size),
    pieceSize: row.pieceSize,
    committedSize: Number(row.committedSize),
    tail: bufferOf(row.pieceSha256),
    usedMs: Number(row.usedMs),
  };
}

/** As it is stored and read again, so that two encodings of one start are equal. */
export const sameStart = (start: Buffer): Buffer => encoded(ShareStart.encode(ShareStart.decode(start)));
