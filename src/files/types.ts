import type { OrgName } from '../identity/names.js';

/** What a content is made of. See Manifest in file_service.proto. */
export interface Manifest {
  readonly size: number;
  /** A power of two, 1 MiB to 16 MiB. */
  readonly pieceSize: number;
  /** Of the whole content. */
  readonly sha256: Buffer;
  readonly merkleRoot: Buffer;
  /** The digests of the pieces in order, 32 bytes each. */
  readonly pieces: Buffer;
}

/** Who may fetch a share. Groups are names of the holder's configuration. */
export interface Audience {
  readonly orgs: readonly OrgName[];
  /** `ORG/node`. */
  readonly nodes: readonly string[];
  readonly groups: readonly string[];
  readonly anyone: boolean;
}

/** What is told of a share to whoever may fetch it. */
export interface ShareFacts {
  readonly org: OrgName;
  /** 16 bytes, random. */
  readonly id: Buffer;
  readonly ownerNode: string;
  /** To be shown only. */
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  readonly sha256: Buffer;
  readonly manifestSha256: Buffer;
  readonly createMs: number;
  /** 0: never. */
  readonly expireMs: number;
  /** 0: any number. */
  readonly maxDownloads: number;
  readonly requiresApproval: boolean;
}

/** What its owner sees of a share. */
export interface OwnShare extends ShareFacts {
  readonly audience: Audience;
  readonly downloads: number;
}

/** Who asks for a download. The organisation is known from the connection, the node from its gateway's word. */
export interface Asker {
  readonly org: OrgName;
  readonly node: string;
}

export interface DownloadRequest {
  readonly shareId: Buffer;
  /** 16 bytes. Opened again with the same ones, a download counts once. */
  readonly downloadId: Buffer;
  /** Only what it is: no piece is read, nothing counts. */
  readonly look: boolean;
}

/**
 * One download of one share by one node, at the holder or through a link: the two look the same.
 *
 * Whoever opened it closes it.
 */
export interface Download {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  /** Fires when the right to it ends, or the way to it; its reason is a FedgateError. */
  readonly ended: AbortSignal;
  /**
   * The bytes of a piece from a place on, in order, to its end; each chunk is good until the next is asked for. Bytes are not kept for a reader that does not read: its pace is the pace of
   * the holder. Leaving early ends the reading of this piece. Through a link they are as the peer sent them: the reader checks them.
   *
   * Throws the reason of `ended`, FILE_DAMAGED, TRANSFER_STALLED, or what `signal` says.
   */
  readPiece(index: number, offset: number, signal: AbortSignal): AsyncIterable<Buffer>;
  close(complete: boolean): void;
}

/** Where shares of the own organisation are opened, for nodes of any. */
export interface ShareHolder {
  /** Rejects with SHARE_UNKNOWN (not there, and not for the asker: the same), SHARE_ENDED, APPROVAL_MISSING, LIMIT_REACHED. */
  open(asker: Asker, request: DownloadRequest, signal: AbortSignal): Promise<Download>;
}

/** Where shares of other organisations are opened, for nodes of the own one. */
export interface RemoteShares {
  /** Rejects with what the holder says, PEER_UNREACHABLE, FEATURE_UNSUPPORTED (its gateway has no files), MANIFEST_INVALID. */
  open(org: OrgName, node: string, request: DownloadRequest, signal: AbortSignal): Promise<Download>;
}
