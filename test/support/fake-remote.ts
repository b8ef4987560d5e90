import { createHash, randomBytes } from 'node:crypto';
import { FedgateError } from '../../src/errors.js';
import { manifestDigest, merkleRoot } from '../../src/files/manifest.js';
import { formatShareId } from '../../src/files/share-id.js';
import type { Download, DownloadRequest, Manifest, RemoteShares, ShareFacts } from '../../src/files/types.js';
import type { OrgName } from '../../src/identity/names.js';

const MIB = 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** What a content is made of, honestly. */
export function manifestFor(content: Buffer, pieceSize = MIB): Manifest {
  const digests: Buffer[] = [];
  for (let at = 0; at < content.length; at += pieceSize) digests.push(sha256(content.subarray(at, at + pieceSize)));
  const pieces = Buffer.concat(digests);
  return { size: content.length, pieceSize, sha256: sha256(content), merkleRoot: merkleRoot(pieces), pieces };
}

export const lost = (): FedgateError => new FedgateError('PEER_UNREACHABLE', 'the link is gone');

/** A gateway of GLOBEX that holds one file under every share id, and behaves as a test wants it to. */
export class FakeRemote implements RemoteShares {
  readonly org = 'GLOBEX' as OrgName;
  readonly content: Buffer;
  manifest: Manifest;
  /** Every open is refused with it. */
  refusal: FedgateError | undefined;
  /** What is sent for a piece, given how often it was asked for before. */
  piece: (index: number, asked: number) => Buffer;
  /** Awaited before each chunk. */
  pace: (index: number, offset: number) => Promise<void> | undefined = () => undefined;
  readonly open_ = new Set<FakeDownload>();
  opens = 0;
  /** The ids of the downloads that were opened, looks left out. */
  readonly downloads: string[] = [];
  readonly asked = new Map<number, number>();
  /** Bytes that were sent, of each piece. */
  readonly sent = new Map<number, number>();

  constructor(size: number, pieceSize = MIB) {
    this.content = randomBytes(size);
    this.manifest = manifestFor(this.content, pieceSize);
    this.piece = index => this.content.subarray(index * pieceSize, (index + 1) * pieceSize);
  }

  /** A new share of it. */
  share(): string {
    return formatShareId({ org: this.org, id: randomBytes(16) });
  }

  async open(org: OrgName, _node: string, request: DownloadRequest, signal: AbortSignal): Promise<Download> {
    this.opens++;
    await new Promise(resolve => setImmediate(resolve));
    signal.throwIfAborted();
    if (this.refusal) throw this.refusal;
    if (!request.look) this.downloads.push(request.downloadId.toString('hex'));
    return new FakeDownload(this, factsOf(org, request.shareId, this.manifest));
  }

  /** Ends every download that is open: the right to it, or the way. */
  end(error: FedgateError = lost()): void {
    for (const download of [...this.open_]) download.end(error);
  }

  get sentBytes(): number {
    return [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}

const factsOf = (org: OrgName, id: Buffer, manifest: Manifest): ShareFacts => ({
  org,
  id,
  ownerNode: 'scanner',
  name: 'scan.bin',
  mediaType: 'application/octet-stream',
  size: manifest.size,
  sha256: manifest.sha256,
  manifestSha256: manifestDigest(manifest),
  createMs: 1_700_000_000_000,
  expireMs: 0,
  maxDownloads: 0,
  requiresApproval: false,
});

class FakeDownload implements Download {
  readonly share: ShareFacts;
  readonly manifest: Manifest;
  readonly #remote: FakeRemote;
  readonly #ended = new AbortController();

  constructor(remote: FakeRemote, share: ShareFacts) {
    this.#remote = remote;
    this.share = share;
    this.manifest = remote.manifest;
    remote.open_.add(this);
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  end(error: FedgateError): void {
    this.#remote.open_.delete(this);
    this.#ended.abort(error);
  }

  async *readPiece(index: number, offset: number, signal: AbortSignal): AsyncIterable<Buffer> {
    const remote = this.#remote;
    const asked = remote.asked.get(index) ?? 0;
    if (offset === 0) remote.asked.set(index, asked + 1);
    const piece = remote.piece(index, offset === 0 ? asked : asked - 1);
    for (let at = offset; at < piece.length; at += CHUNK_BYTES) {
      await (remote.pace(index, at) ?? new Promise(resolve => setImmediate(resolve)));
      signal.throwIfAborted();
      this.#ended.signal.throwIfAborted();
      const chunk = piece.subarray(at, at + CHUNK_BYTES);
      remote.sent.set(index, (remote.sent.get(index) ?? 0) + chunk.length);
      yield chunk;
    }
  }

  close(): void {
    this.end(new FedgateError('CANCELLED', 'the download is closed'));
  }
}
