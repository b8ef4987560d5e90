import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { FedgateError } from '../../src/errors.js';
import { manifestDigest, merkleRoot } from '../../src/files/manifest.js';
import type { Asker, Download, DownloadRequest, Manifest, ShareFacts, ShareHolder } from '../../src/files/types.js';
import type { OrgName } from '../../src/identity/names.js';
import { FilesSession } from '../../src/link/files-session.js';
import type { FilesTiming } from '../../src/link/files-terms.js';
import type { Lane } from '../../src/link/lane.js';
import { testIdentity } from './durable-side.js';

export const MIB = 1024 * 1024;
export const forever: AbortSignal = new AbortController().signal;
setMaxListeners(0, forever);

export const request = (more: Partial<DownloadRequest> = {}): DownloadRequest => ({
  shareId: randomBytes(16),
  downloadId: randomBytes(16),
  look: false,
  ...more,
});

/** A manifest that keeps the rules. Its pieces are of nothing: the lane does not look at their digests. */
export function manifestOf(size: number, pieceSize = MIB): Manifest {
  const pieces = randomBytes(32 * Math.ceil(size / pieceSize));
  return { size, pieceSize, sha256: randomBytes(32), merkleRoot: merkleRoot(pieces), pieces };
}

export const factsOf = (org: OrgName, id: Buffer, manifest: Manifest): ShareFacts => ({
  org,
  id,
  ownerNode: 'scanner',
  name: 'a "file"',
  mediaType: 'application/octet-stream',
  size: manifest.size,
  sha256: manifest.sha256,
  manifestSha256: manifestDigest(manifest),
  createMs: 1_700_000_000_000,
  expireMs: 0,
  maxDownloads: 3,
  requiresApproval: false,
});

export interface OpenedShare {
  readonly asker: Asker;
  readonly request: DownloadRequest;
  /** How it was closed; undefined: it is open. */
  complete: boolean | undefined;
  /** Bytes that were read of it. */
  bytesRead: number;
  end(error: FedgateError): void;
}

const PATTERN = randomBytes(18 * MIB);

/** What stands in a piece: others than in its neighbours, and in no other place of it. */
export const bytesAt = (piece: number, offset: number, length: number): Buffer => {
  const from = ((piece * 997) % MIB) + offset;
  return PATTERN.subarray(from, from + length);
};

/** Holds one content under every share id. */
export class FakeHolder implements ShareHolder {
  readonly org: OrgName;
  readonly manifest: Manifest;
  readonly opened: OpenedShare[] = [];
  /** What every open is refused with. */
  refusal: FedgateError | undefined;
  chunkBytes = 256 * 1024;
  /** The bytes of a piece. */
  read = bytesAt;
  /** Awaited before each open and each chunk. */
  pace: () => Promise<void> | undefined = () => undefined;

  constructor(org: OrgName, size: number, pieceSize = MIB) {
    this.org = org;
    this.manifest = manifestOf(size, pieceSize);
  }

  async open(asker: Asker, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    await this.pace();
    signal.throwIfAborted();
    if (this.refusal) throw this.refusal;
    const ended = new AbortController();
    const opened: OpenedShare = {
      asker,
      request,
      complete: undefined,
      bytesRead: 0,
      end: error => ended.abort(error),
    };
    this.opened.push(opened);
    return {
      share: factsOf(this.org, request.shareId, this.manifest),
      manifest: this.manifest,
      ended: ended.signal,
      readPiece: (index, offset, reading) => this.#readPiece(opened, index, offset, reading),
      close: complete => {
        opened.complete ??= complete;
      },
    };
  }

  get openNow(): number {
    return this.opened.filter(({ complete }) => complete === undefined).length;
  }

  async *#readPiece(opened: OpenedShare, index: number, offset: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { size, pieceSize } = this.manifest;
    const end = Math.min(pieceSize, size - index * pieceSize);
    for (let at = offset; at < end; at += this.chunkBytes) {
      await this.pace();
      if (signal.aborted) throw signal.reason;
      const length = Math.min(this.chunkBytes, end - at);
      opened.bytesRead += length;
      yield this.read(index, at, length);
    }
  }
}

/** One end of a files lane, without link and gateway: it asks when it holds nothing. */
export class FilesSide {
  readonly alarms: FedgateError[] = [];
  readonly session: FilesSession;
  nowMs = 0;

  private constructor(
    holder: ShareHolder,
    lane: Lane,
    peer: Awaited<ReturnType<typeof testIdentity>>,
    timing: Partial<FilesTiming>,
  ) {
    this.session = new FilesSession({
      host: { holder, timing, onAlarm: error => void this.alarms.push(error) },
      peer: peer.identity,
      lane,
      role: holder === nobody ? 'asker' : 'holder',
      now: () => this.nowMs,
    });
  }

  static async open(
    holder: ShareHolder,
    lane: Lane,
    peer: OrgName,
    timing: Partial<FilesTiming> = { stallMs: 60_000 },
  ): Promise<FilesSide> {
    return new FilesSide(holder, lane, await testIdentity(peer), timing);
  }

  /** Lets time pass. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.session.check();
  }
}

/** Reads a piece to its end. */
export async function readAll(
  download: Download,
  piece: number,
  offset = 0,
  signal: AbortSignal = forever,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of download.readPiece(piece, offset, signal)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

export const nobody: ShareHolder = {
  open: () => Promise.reject(new FedgateError('SHARE_UNKNOWN', 'nothing is shared here')),
};
