import type { OrgName } from '../../identity/names.js';
import type { Change } from '../../store/store.js';
import type { Manifest } from '../types.js';

/** Bytes whose space is promised. Released by whoever reserved them: part by part as they are stored, and then count by themselves, or all that is left. */
export interface Reservation {
  /** `bytes`: so many of them. @default all that is left */
  release(bytes?: number): void;
}

/** A content that cannot be removed while somebody holds it. */
export interface HeldContent {
  readonly manifest: Manifest;
  /** The content's key: of an own share the digest of its manifest, of another's made of that and of whose it is. */
  readonly id: Buffer;
  /** Whether its whole-file digest was found right. */
  readonly verified: boolean;
  /** Whether a piece is on the disk. */
  has(index: number): boolean;
  /** Bytes of a range that are on the disk. */
  bytesHeld(offset: number, length: number): number;
  /**
   * The bytes of a piece from a place on, in chunks, each good until the next is asked for. Read from the disk and verified on the way: when the
   * piece is not what was written it is taken out of the index and FILE_DAMAGED is thrown behind its last byte. Also when it is not there.
   */
  readPiece(index: number, offset: number, signal: AbortSignal): AsyncIterable<Buffer>;
  /** A place for a piece that is to come, or undefined when it is on the disk by now: another call wrote it, or the same organisation sent it for another content. */
  receive(index: number): Promise<PieceWriter | undefined>;
  /** Says that its whole-file digest was found right, or that it was not: then nobody is given it any more. */
  judge(right: boolean): Promise<void>;
  release(): void;
}

/** One piece on its way to the disk. It counts once `finish` has resolved; until then it is a temporary file. */
export interface PieceWriter {
  /** In order. Resolves when the next may come: memory is bounded by one chunk. Throws PIECE_MISMATCH (too long), STORE_FULL, STORE_FAILED. */
  write(chunk: Buffer): Promise<void>;
  /** Verifies, syncs, renames, and enters it into the index. Throws PIECE_MISMATCH; then nothing is left of it. */
  finish(): Promise<void>;
  /** Throws what was written away. Does nothing after `finish`. */
  abandon(): Promise<void>;
}

export interface UploadStart {
  readonly owner: string;
  /** 16 bytes, drawn by the client. */
  readonly uploadId: Buffer;
  /** Undefined: not known. */
  readonly size: number | undefined;
  /** The encoded ShareStart: what is resumed must begin alike. */
  readonly start: Buffer;
}

/** An upload that this call alone writes to: one opened later for the same id ends it with UPLOAD_TAKEN. */
export interface Upload {
  readonly committedSize: number;
  readonly pieceSize: number;
  /** Digests of the committed pieces. */
  readonly pieces: Buffer;
  /** Fires with UPLOAD_TAKEN when another call goes on with it. */
  readonly taken: AbortSignal;
  /** Bytes at `offset`, which must follow the last ones. Throws OFFSET_INVALID, FILES_FULL, STORE_FULL, UPLOAD_TAKEN. Bounded memory, as PieceWriter. */
  write(offset: number, chunk: Buffer): Promise<void>;
  /**
   * Stores the last piece and makes a content of it, held, with one share that stands for it. `also` adds rows to the commit that does so:
   * the share itself. Throws OFFSET_INVALID when less came than was declared.
   */
  finish(
    also: (change: Change, content: { readonly id: Buffer; readonly manifest: Manifest }) => void,
  ): Promise<HeldContent>;
  /** Ends this call's writing. What was committed stays, for a later call. */
  close(): Promise<void>;
}

/**
 * Content on the disk: verified pieces under their digests, the manifests that name them, uploads that become contents.
 *
 * All changes of the index are rows of the store. Content without a share, and content of others that nobody holds, stays for a while and is
 * then removed; so are uploads that nobody goes on with.
 */
export interface Contents {
  /** Opens an upload, new or begun. Throws UPLOAD_MISMATCH, FILES_FULL. */
  upload(start: UploadStart): Promise<Upload>;
  /** Undefined: nothing of it was committed, or it was removed, or it is finished. */
  findUpload(
    owner: string,
    uploadId: Buffer,
  ): Promise<{ readonly committedSize: number; readonly pieceSize: number; readonly pieces: Buffer } | undefined>;
  cancelUpload(owner: string, uploadId: Buffer): Promise<void>;
  /** A content of the own shares. Undefined: there is none of that digest. */
  hold(id: Buffer): Promise<HeldContent | undefined>;
  /**
   * One share less stands for a content. `also` adds rows to the commit that says so. `owner`: the node whose share it was, which is charged
   * for it no longer; unsaid, it is the first of those that have shares of it.
   */
  dropShare(id: Buffer, also: (change: Change) => void, owner?: string): Promise<void>;
  /** A content of another organisation's share: a new one, or what that organisation has sent of it. The manifest was checked. */
  holdRemote(manifest: Manifest, org: OrgName): Promise<HeldContent>;
  /** Reserves space in the cache for what is to be fetched, after making room. Throws FILES_FULL. */
  reserve(bytes: number): Promise<Reservation>;
}
