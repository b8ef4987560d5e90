import { randomBytes } from 'node:crypto';
import type { Client, ClientWritableStream } from '@grpc/grpc-js';
import {
  type FetchOpened,
  FetchRequest,
  type FetchResponse,
  FileServiceService,
  type GetShareResponse,
  type GetUploadResponse,
  type ListSharesResponse,
  type Share,
  type ShareRequest,
  type ShareResponse,
  ShareStart,
  type Transfer,
  UpdateShareRequest,
} from '../../gen/ts/fedgate/files/v1/file_service.js';
import { loadContext } from '../../src/client/context.js';
import type { FedgateError } from '../../src/errors.js';
import { openChannel } from '../../src/transport/channel.js';
import { callServerStream, callUnary } from '../../src/transport/client-calls.js';
import { fromGrpcError } from '../../src/transport/status.js';
import type { TestScope } from './registry.js';

const TIMEOUT_MS = 60_000;
const CHUNK_BYTES = 256 * 1024;
const MIB = 1024 * 1024;

/** A program that knows FileService from its proto alone. */
export class FileClient {
  readonly #channel: Client;

  constructor(channel: Client) {
    this.#channel = channel;
  }

  /** For what no honest client sends. */
  get channel(): Client {
    return this.#channel;
  }

  /** With the certificates of a context file; closed after the test. */
  static async of(t: TestScope, contextFile: string): Promise<FileClient> {
    const context = await loadContext(contextFile);
    const channel = openChannel({ ...context, window: 8 * MIB, maxReceiveBytes: 4 * MIB });
    t.teardown(() => channel.close());
    return new FileClient(channel);
  }

  close(): void {
    this.#channel.close();
  }

  /** Opens a Share call and leaves it to the caller. */
  upload(): Upload {
    return new Upload(this.#channel);
  }

  /** Shares bytes from a place on, in chunks, and waits for the answer. */
  async share(content: Buffer, start: Partial<ShareStart> = {}, from = 0): Promise<Share> {
    const upload = this.upload();
    upload.send({ $case: 'start', value: startOf({ size: BigInt(content.length), ...start }) });
    for (let offset = from; offset < content.length; offset += CHUNK_BYTES) {
      const room = upload.chunk(offset, content.subarray(offset, offset + CHUNK_BYTES));
      if (!room) await upload.drained();
    }
    upload.end();
    return upload.answer;
  }

  fetch(
    shareId: string,
    request: Partial<FetchRequest> = {},
    signal: AbortSignal = new AbortController().signal,
  ): Fetching {
    const message = FetchRequest.fromPartial({ shareId, ...request });
    return new Fetching(callServerStream(this.#channel, FileServiceService.fetch, message, signal));
  }

  getShare(shareId: string, withManifest = false): Promise<GetShareResponse> {
    return this.#unary(FileServiceService.getShare, { shareId, withManifest });
  }

  getUpload(uploadId: Uint8Array): Promise<GetUploadResponse> {
    return this.#unary(FileServiceService.getUpload, { uploadId });
  }

  async cancelUpload(uploadId: Uint8Array): Promise<void> {
    await this.#unary(FileServiceService.cancelUpload, { uploadId });
  }

  listShares(pageSize = 0, pageToken = ''): Promise<ListSharesResponse> {
    return this.#unary(FileServiceService.listShares, { pageSize, pageToken });
  }

  async updateShare(shareId: string, changes: Partial<UpdateShareRequest>): Promise<Share> {
    const { share } = await this.#unary(
      FileServiceService.updateShare,
      UpdateShareRequest.fromPartial({ shareId, ...changes }),
    );
    return share as Share;
  }

  async unshare(shareId: string): Promise<void> {
    await this.#unary(FileServiceService.unshare, { shareId });
  }

  async *watchTransfers(signal: AbortSignal, shareId = ''): AsyncGenerator<Transfer> {
    for await (const { transfer } of callServerStream(
      this.#channel,
      FileServiceService.watchTransfers,
      { shareId },
      signal,
    )) {
      if (transfer) yield transfer;
    }
  }

  #unary<Req, Res>(method: Parameters<typeof callUnary<Req, Res>>[1], request: Req): Promise<Res> {
    return callUnary(this.#channel, method, request, { timeoutMs: TIMEOUT_MS });
  }
}

/** A start with an id of its own and everything else as it is when nobody says anything. */
export const startOf = (start: Partial<ShareStart>): ShareStart =>
  ShareStart.fromPartial({ uploadId: randomBytes(16), name: 'file.bin', ...start });

/** One Share call. */
export class Upload {
  readonly answer: Promise<Share>;
  readonly #call: ClientWritableStream<ShareRequest>;

  constructor(channel: Client) {
    const { path, requestSerialize, responseDeserialize } = FileServiceService.share;
    let call: ClientWritableStream<ShareRequest> | undefined;
    this.answer = new Promise((resolve, reject) => {
      call = channel.makeClientStreamRequest<ShareRequest, ShareResponse>(
        path,
        requestSerialize,
        responseDeserialize,
        (error, response) => {
          if (error) reject(fromGrpcError(error));
          else resolve(response?.share as Share);
        },
      );
    });
    // Whoever does not wait for it does not mind.
    this.answer.catch(() => undefined);
    this.#call = call as ClientWritableStream<ShareRequest>;
    this.#call.on('error', () => undefined);
  }

  send(frame: NonNullable<ShareRequest['frame']>): boolean {
    return this.#call.write({ frame });
  }

  chunk(offset: number | bigint, data: Uint8Array): boolean {
    return this.send({ $case: 'chunk', value: { offset: BigInt(offset), data } });
  }

  /** Resolves when it takes more, or is over. */
  async drained(): Promise<void> {
    await Promise.race([new Promise(resolve => this.#call.once('drain', resolve)), this.answer.catch(() => undefined)]);
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}

/** One Fetch call. */
export class Fetching {
  readonly #frames: AsyncGenerator<FetchResponse>;
  #opened: FetchOpened | undefined;

  constructor(frames: AsyncGenerator<FetchResponse>) {
    this.#frames = frames;
  }

  /** What comes first. */
  async opened(): Promise<FetchOpened> {
    if (this.#opened) return this.#opened;
    const { value } = (await this.#frames.next()) as { value: FetchResponse | undefined };
    if (value?.frame?.$case !== 'opened') throw new Error(`a fetch that begins with ${value?.frame?.$case}`);
    this.#opened = value.frame.value;
    return this.#opened;
  }

  /** Chunks, checked to follow each other. */
  async *chunks(from = 0): AsyncGenerator<Buffer> {
    await this.opened();
    let at = from;
    for await (const { frame } of this.#frames) {
      if (frame?.$case !== 'chunk') throw new Error(`a ${frame?.$case} among the chunks`);
      if (frame.value.offset !== BigInt(at)) throw new Error(`a chunk at ${frame.value.offset} instead of ${at}`);
      at += frame.value.data.length;
      yield Buffer.from(frame.value.data);
    }
  }

  async bytes(from = 0): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.chunks(from)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Gives up. */
  async leave(): Promise<void> {
    await this.#frames.return(undefined);
  }
}

/** What a call was refused with. */
export async function refusal(call: Promise<unknown>): Promise<FedgateError> {
  try {
    await call;
  } catch (error) {
    return fromGrpcError(error);
  }
  throw new Error('it was not refused');
}

/** All audiences that are empty in every other respect. */
export const audience = (part: Partial<NonNullable<ShareStart['audience']>>): NonNullable<ShareStart['audience']> => ({
  orgs: [],
  nodes: [],
  groups: [],
  anyone: false,
  ...part,
});
