import type { Readable } from 'node:stream';

/** Who may fetch a share. Nobody but its owner when all is left out. */
export interface AudienceInit {
  /** Organisations: every node of them. */
  readonly orgs?: readonly string[] | undefined;
  /** Single nodes: `ORG/node`. */
  readonly nodes?: readonly string[] | undefined;
  /** Groups of organisations, without `@`: of the own gateway's configuration, or of a member's record (`acme.partners`). */
  readonly groups?: readonly string[] | undefined;
  /** Any node of any active member that has the id. */
  readonly anyone?: boolean | undefined;
}

/** A share, as the gateway tells it. */
export interface SharedFile {
  /** `share://ORG/<32 hexadecimal digits>`. */
  readonly id: string;
  readonly ownerNode: string;
  /** To be shown: chosen by whoever shared it, and never a path. */
  readonly name: string;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
  /** Of the content, in hexadecimal. */
  readonly sha256: string;
  /** Of the manifest, which names the pieces, in hexadecimal. */
  readonly manifestSha256: string;
  /** Told to the organisation that shared it only. */
  readonly audience: Required<AudienceInit> | undefined;
  readonly createTimeMs: number;
  /** Undefined: never. */
  readonly expireTimeMs: number | undefined;
  /** Undefined: any number. */
  readonly maxDownloads: number | undefined;
  /** How many there were. Told to the organisation that shared it only. */
  readonly downloads: number;
  readonly requiresApproval: boolean;
}

/** How far a transfer is. */
export interface TransferProgress {
  /** Bytes sent, or received and verified as far as they can be. Falls when a lost connection took some back. */
  readonly doneBytes: number;
  /** Undefined: not known. */
  readonly totalBytes: number | undefined;
  /** Of them, bytes that were there when this call began. */
  readonly resumedBytes: number;
}

/** What every transfer takes. */
export interface TransferOptions {
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
  /** Ends it. What is done stays, to be resumed. */
  readonly signal?: AbortSignal | undefined;
  /** How long it is resumed by itself without a single byte moving, milliseconds. @default 60000 */
  readonly patienceMs?: number | undefined;
}

/** A path, or the bytes themselves. */
export type ShareSource = string | Readable | AsyncIterable<Uint8Array>;

export interface ShareOptions extends TransferOptions {
  /** @default nobody but the own node */
  readonly audience?: AudienceInit | undefined;
  /** The name to show, at most 255 bytes. @default the last part of the path, or `file` */
  readonly name?: string | undefined;
  /** @default application/octet-stream */
  readonly mediaType?: string | undefined;
  /** How long it may be fetched, milliseconds from now. @default for ever */
  readonly expiresMs?: number | undefined;
  /** The same as a moment, epoch milliseconds. A call that resumes another must give the same. */
  readonly expireTimeMs?: number | undefined;
  /** How often it may be fetched. @default any number */
  readonly maxDownloads?: number | undefined;
  /** Whether it may be fetched only once an approval of its digest exists. @default false */
  readonly requiresApproval?: boolean | undefined;
  /** 16 random bytes: a later call with the same ones goes on where this one ended. @default drawn, and given up when the call fails */
  readonly uploadId?: Uint8Array | undefined;
  /** The size of a source that is no path, bytes: its space is then reserved at once. */
  readonly sizeBytes?: number | undefined;
  /** Whether a path may be a symbolic link. @default true */
  readonly followLinks?: boolean | undefined;
}

export interface FetchOptions extends TransferOptions {
  /** The path to write. There is no such file until all of it is verified; until then `<path>.part` holds what has come. */
  readonly to: string;
  /** Whether a file that is there is replaced. @default false */
  readonly overwrite?: boolean | undefined;
  /**
   * Asked when all of it is there and verified, before the file appears: `share.sha256` is the digest of exactly these bytes. When it throws,
   * what was fetched is thrown away, and the call rejects with that.
   */
  readonly accept?: ((share: SharedFile) => void | Promise<void>) | undefined;
  /** 16 random bytes: calls with the same ones count once against the share's number of downloads. @default kept beside the part */
  readonly downloadId?: Uint8Array | undefined;
}

export interface FetchedFile {
  readonly share: SharedFile;
  readonly path: string;
  /** Bytes of it that an earlier call had fetched. */
  readonly resumedBytes: number;
}

export interface FetchStreamOptions extends TransferOptions {
  /** The first byte. @default 0 */
  readonly offset?: number | undefined;
  /** How many bytes. @default to the end */
  readonly length?: number | undefined;
  /** 16 random bytes: calls with the same ones count once against the share's number of downloads. @default drawn */
  readonly downloadId?: Uint8Array | undefined;
}

export interface ShareChanges {
  readonly audience?: AudienceInit | undefined;
  /** Epoch milliseconds; 0: never. */
  readonly expireTimeMs?: number | undefined;
  /** 0: any number. */
  readonly maxDownloads?: number | undefined;
}

/** Content on its way. */
export interface Transfer {
  /** Names it as long as the gateway runs. */
  readonly id: string;
  /** From a node to its own gateway; from or through the own gateway to a node; from the own gateway to another organisation's. */
  readonly kind: 'upload' | 'fetch' | 'send' | 'unknown';
  /** `ended`: over before all was there; it may be resumed. */
  readonly state: 'active' | 'done' | 'ended' | 'unknown';
  /** Empty for an upload that has none yet. */
  readonly shareId: string;
  readonly name: string;
  /** At the other end: of a fetch the one whose share it is. */
  readonly org: string;
  /** Who shares or fetches: an own node, or with `send` one of that organisation. */
  readonly node: string;
  /** Undefined: not known. */
  readonly totalBytes: number | undefined;
  readonly doneBytes: number;
  /** Of them, bytes that another organisation's gateway sent for it. */
  readonly receivedBytes: number;
  readonly startTimeMs: number;
  /** Why it ended, for people. */
  readonly error: string;
}
