import { createHash, randomBytes } from 'node:crypto';
import type {
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
} from '@grpc/grpc-js';
import {
  type CancelUploadRequest,
  type CancelUploadResponse,
  FetchOpened,
  type FetchRequest,
  FileServiceService,
  type GetShareRequest,
  type GetShareResponse,
  type GetUploadRequest,
  type GetUploadResponse,
  type Manifest,
  type Share,
  type ShareResponse,
  ShareStart,
} from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../src/errors.js';
import { manifestDigest, merkleRoot } from '../../src/files/manifest.js';
import type { Listener } from '../../src/transport/server.js';
import { toGrpcStatus } from '../../src/transport/status.js';
import { type Chunk, encodeChunk, encodeOpening, readFileFrame } from '../../src/wire/file-frames.js';

export const PIECE = 1024 * 1024;
const CHUNK = 256 * 1024;

interface FakeUpload {
  readonly start: ShareStart;
  bytes: Buffer;
  /** What is not committed yet. */
  pending: Buffer;
  share?: Share;
}

interface FakeShare {
  readonly share: Share;
  readonly manifest: Manifest;
  readonly bytes: Buffer;
}

const untouched = (bytes: Buffer): Buffer => bytes;
const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
export const lost = (): FedgateError => new FedgateError('GATEWAY_UNREACHABLE', 'the connection was lost');

/** FileService in memory, which does as it is told where a gateway, or the way to it, has a choice: it breaks off, it lies. */
export class FakeFileService {
  readonly uploads = new Map<string, FakeUpload>();
  readonly shares = new Map<string, FakeShare>();
  readonly cancelled: string[] = [];
  readonly fetches: { readonly offset: number; readonly downloadId: string; readonly checksWhole: boolean }[] = [];
  readonly looks: string[] = [];
  /** Offsets that each Share call began with. */
  readonly uploadOffsets: number[] = [];
  /** Decides about each chunk that arrives: what the call ends with instead of taking it. */
  onUpload: (chunk: Chunk) => FedgateError | undefined = () => undefined;
  /** Decides about each chunk that is sent: another one, or what the call ends with. */
  onFetch: (chunk: Chunk) => Chunk | FedgateError | Promise<Chunk | FedgateError> = chunk => chunk;
  /** What `opened` and GetShare say instead. */
  lie: (told: { share: Share; manifest: Manifest | undefined }) => { share: Share; manifest: Manifest | undefined } =
    told => told;

  readonly register = (listener: Listener): void => {
    const definition = {
      ...FileServiceService,
      share: { ...FileServiceService.share, requestDeserialize: untouched },
      fetch: { ...FileServiceService.fetch, responseSerialize: untouched },
    } as ServiceDefinition;
    listener.addService(definition, {
      share: (call: ServerReadableStream<Buffer, ShareResponse>, answer: sendUnaryData<ShareResponse>) =>
        void this.#share(call, answer),
      getUpload: this.#getUpload,
      cancelUpload: this.#cancelUpload,
      fetch: (call: ServerWritableStream<FetchRequest, Buffer>) => void this.#fetch(call),
      getShare: this.#getShare,
    });
  };

  /** Honest, and with nothing in it. */
  reset(): void {
    for (const each of [this.uploads, this.shares]) each.clear();
    for (const each of [this.cancelled, this.fetches, this.looks, this.uploadOffsets]) each.length = 0;
    this.onUpload = () => undefined;
    this.onFetch = chunk => chunk;
    this.lie = told => told;
  }

  /** Makes a share of these bytes; returns its id. `whole`: what is said to be their digest. */
  add(bytes: Buffer, name = 'file', whole = sha256(bytes)): string {
    const start = ShareStart.fromPartial({ name });
    return this.#make(start, bytes, whole).id;
  }

  async #share(call: ServerReadableStream<Buffer, ShareResponse>, answer: sendUnaryData<ShareResponse>): Promise<void> {
    let upload: FakeUpload | undefined;
    try {
      for await (const bytes of call as AsyncIterable<Buffer>) {
        const frame = readFileFrame(bytes);
        if ('opening' in frame) {
          upload = this.#begin(ShareStart.decode(frame.opening));
          if (upload.share) break;
          continue;
        }
        if (!upload) throw new FedgateError('FRAME_UNEXPECTED', 'no start');
        this.#take(upload, frame.chunk);
      }
      // Whether it was ended or given up is known a moment later.
      await new Promise(resolve => setTimeout(resolve, 20));
      if (call.cancelled) return;
      if (!upload) throw new FedgateError('FRAME_UNEXPECTED', 'no start');
      const all = Buffer.concat([upload.bytes, upload.pending]);
      upload.share ??= this.#make(upload.start, all);
      answer(null, { share: upload.share });
    } catch (error) {
      if (error instanceof FedgateError) answer(toGrpcStatus(error));
    }
  }

  #begin(start: ShareStart): FakeUpload {
    const id = Buffer.from(start.uploadId).toString('hex');
    const upload = this.uploads.get(id) ?? { start, bytes: Buffer.alloc(0), pending: Buffer.alloc(0) };
    upload.pending = Buffer.alloc(0);
    this.uploads.set(id, upload);
    this.uploadOffsets.push(upload.bytes.length);
    return upload;
  }

  #take(upload: FakeUpload, chunk: Chunk): void {
    const error = this.onUpload(chunk);
    if (error) throw error;
    if (chunk.offset !== upload.bytes.length + upload.pending.length)
      throw new FedgateError('OFFSET_INVALID', `${chunk.offset} does not follow`);
    upload.pending = Buffer.concat([upload.pending, chunk.data]);
    while (upload.pending.length >= PIECE) {
      upload.bytes = Buffer.concat([upload.bytes, upload.pending.subarray(0, PIECE)]);
      upload.pending = upload.pending.subarray(PIECE);
    }
  }

  #make(start: ShareStart, bytes: Buffer, whole = sha256(bytes)): Share {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += PIECE) pieces.push(sha256(bytes.subarray(at, at + PIECE)));
    const all = Buffer.concat(pieces);
    const facts = { size: bytes.length, pieceSize: PIECE, sha256: whole };
    const root = merkleRoot(all);
    const manifest = { ...facts, size: BigInt(bytes.length), merkleRoot: root, pieceSha256: all };
    const share: Share = {
      id: `share://ACME/${randomBytes(16).toString('hex')}`,
      ownerNode: 'tester',
      name: start.name,
      mediaType: start.mediaType,
      size: manifest.size,
      sha256: facts.sha256,
      manifestSha256: manifestDigest({ ...facts, merkleRoot: root, pieces: all }),
      audience: start.audience,
      createTimeMs: 1_700_000_000_000n,
      expireTimeMs: start.expireTimeMs,
      maxDownloads: start.maxDownloads,
      downloads: 0,
      requiresApproval: start.requiresApproval,
    };
    this.shares.set(share.id, { share, manifest, bytes });
    return share;
  }

  readonly #getUpload = (
    { request }: ServerUnaryCall<GetUploadRequest, GetUploadResponse>,
    answer: sendUnaryData<GetUploadResponse>,
  ): void => {
    const upload = this.uploads.get(Buffer.from(request.uploadId).toString('hex'));
    if (!upload || (upload.bytes.length === 0 && !upload.share))
      return answer(toGrpcStatus(new FedgateError('UPLOAD_UNKNOWN', 'no such upload')));
    const digests: Buffer[] = [];
    for (let at = 0; at < upload.bytes.length; at += PIECE) digests.push(sha256(upload.bytes.subarray(at, at + PIECE)));
    answer(null, {
      committedSize: BigInt(upload.bytes.length),
      pieceSize: PIECE,
      pieceSha256: Buffer.concat(digests),
      share: upload.share,
    });
  };

  readonly #cancelUpload = (
    { request }: ServerUnaryCall<CancelUploadRequest, CancelUploadResponse>,
    answer: sendUnaryData<CancelUploadResponse>,
  ): void => {
    const id = Buffer.from(request.uploadId).toString('hex');
    this.cancelled.push(id);
    this.uploads.delete(id);
    answer(null, {});
  };

  readonly #getShare = (
    { request }: ServerUnaryCall<GetShareRequest, GetShareResponse>,
    answer: sendUnaryData<GetShareResponse>,
  ): void => {
    this.looks.push(request.shareId);
    const found = this.shares.get(request.shareId);
    if (!found) return answer(toGrpcStatus(new FedgateError('SHARE_UNKNOWN', 'no such share')));
    const { share, manifest } = found;
    answer(null, this.lie({ share, manifest: request.withManifest ? manifest : undefined }));
  };

  async #fetch(call: ServerWritableStream<FetchRequest, Buffer>): Promise<void> {
    const { shareId, offset, length, withManifest, downloadId, checksWhole } = call.request;
    const fail = (error: FedgateError): boolean => call.emit('error', toGrpcStatus(error));
    const found = this.shares.get(shareId);
    if (!found) return void fail(new FedgateError('SHARE_UNKNOWN', 'no such share'));
    this.fetches.push({ offset: Number(offset), downloadId: Buffer.from(downloadId).toString('hex'), checksWhole });
    const { share, manifest, bytes } = found;
    const told = this.lie({ share, manifest: withManifest ? manifest : undefined });
    call.write(encodeOpening(FetchOpened.encode({ ...told, cachedBytes: 0n }).finish()));
    const end = length === 0n ? bytes.length : Number(offset + length);
    for (let at = Number(offset); at < end; at += CHUNK) {
      // Whether it was ended or given up is known a moment later.
      await new Promise(resolve => setTimeout(resolve, 20));
      if (call.cancelled) return;
      const chunk = await this.onFetch({ offset: at, data: bytes.subarray(at, Math.min(at + CHUNK, end)) });
      if (chunk instanceof FedgateError) return void fail(chunk);
      if (!call.write(encodeChunk(chunk.offset, chunk.data)))
        await new Promise<void>(resolve => {
          call.once('drain', resolve);
          call.once('close', resolve);
        });
    }
    call.end();
  }
}
