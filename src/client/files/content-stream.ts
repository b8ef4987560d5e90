import {
  FetchOpened,
  type FetchRequest,
  FileServiceService as methods,
} from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../errors.js';
import { firstOf } from '../../files/abort.js';
import type { Manifest } from '../../files/types.js';
import { callServerStream } from '../../transport/client-calls.js';
import { type FileFrame, readFileFrame } from '../../wire/file-frames.js';
import { toSharedFile } from './convert.js';
import { checkedManifest } from './manifest.js';
import { Patience, type TransferHost, throwIfGivenUp } from './patience.js';
import type { SharedFile, TransferOptions } from './types.js';

/** What a Fetch call begins with. */
export interface OpenedContent {
  readonly share: SharedFile;
  readonly manifest: Manifest;
}

export interface ContentRequest {
  readonly shareId: string;
  readonly offset: number;
  /** 0: to the end. */
  readonly length: number;
  readonly downloadId: Buffer;
  /** Whoever reads hashes the whole, and takes nothing for whole before. */
  readonly checksWhole: boolean;
}

/** What a download can end with that is about the bytes themselves, or the contract. */
const BAD: ReadonlySet<FedgateError['status']> = new Set(['DATA_LOSS', 'PERMISSION_DENIED', 'INVALID_ARGUMENT']);

const method = {
  ...methods.fetch,
  responseDeserialize: (bytes: Buffer): Buffer => bytes,
};

/**
 * Bytes of a share in order, without holes, over as many Fetch calls as it takes. They are as the gateway sent them: whoever reads them
 * checks them against the manifest. `open` comes first; whoever opened it closes it.
 */
export class ContentStream {
  readonly #host: TransferHost;
  readonly #request: ContentRequest;
  readonly #patience: Patience;
  readonly #closed = new AbortController();
  readonly #over: ReturnType<typeof firstOf>;
  #call: AsyncGenerator<Buffer> | undefined;
  #opened: OpenedContent | undefined;
  #next: number;
  #end = 0;
  #checksWhole: boolean;

  constructor(host: TransferHost, request: ContentRequest, options: TransferOptions) {
    this.#host = host;
    this.#request = request;
    this.#patience = new Patience(host, options);
    this.#next = request.offset;
    this.#checksWhole = request.checksWhole;
    this.#over = firstOf([...(options.signal ? [options.signal] : []), host.ended, this.#closed.signal]);
  }

  /** Rejects with what the gateway refuses with, and MANIFEST_INVALID. */
  async open(): Promise<OpenedContent> {
    for (;;) {
      try {
        return await this.#open();
      } catch (error) {
        await this.#broke(error);
      }
    }
  }

  /** Where the next byte belongs. */
  get offset(): number {
    return this.#next;
  }

  /** The next bytes; undefined behind the last. */
  async next(): Promise<Buffer | undefined> {
    while (this.#next < this.#end) {
      throwIfGivenUp(this.#over.signal);
      try {
        this.#call ?? (await this.#open());
        const bytes = await this.#read();
        this.#patience.moved();
        return bytes;
      } catch (error) {
        await this.#broke(error);
      }
    }
    await this.#finish();
    return undefined;
  }

  /** Goes on from another place, because something was not right: the gateway is to look as well. */
  seek(offset: number): void {
    this.#next = offset;
    this.#checksWhole = false;
    this.#drop();
  }

  close(): void {
    this.#closed.abort();
    this.#over.stop();
    this.#drop();
  }

  async #open(): Promise<OpenedContent> {
    throwIfGivenUp(this.#over.signal);
    const { shareId, downloadId, length } = this.#request;
    const request: FetchRequest = {
      shareId,
      offset: BigInt(this.#next),
      length: BigInt(length === 0 ? 0 : this.#request.offset + length - this.#next),
      downloadId,
      withManifest: this.#opened === undefined,
      checksWhole: this.#checksWhole,
    };
    this.#call = callServerStream(this.#host.downloads, method, request, this.#over.signal);
    const frame = await this.#frame();
    if (!frame || !('opening' in frame)) throw malformed('a download begins with something else than what it is');
    const message = FetchOpened.decode(frame.opening);
    const share = toSharedFile(message.share);
    if (!this.#opened) {
      this.#opened = { share, manifest: checkedManifest(message.manifest, share) };
      this.#end = length === 0 ? share.size : this.#request.offset + length;
    } else if (share.manifestSha256 !== this.#opened.share.manifestSha256) {
      throw new FedgateError('FILE_CHANGED', 'the share has another content than before');
    }
    return this.#opened;
  }

  async #read(): Promise<Buffer> {
    const frame = await this.#frame();
    if (!frame) throw malformed(`the download ended at byte ${this.#next}, before its end`);
    if (!('chunk' in frame)) throw malformed('a download says twice what it is');
    const { offset, data } = frame.chunk;
    if (offset !== this.#next || offset + data.length > this.#end)
      throw malformed(`bytes from ${offset} on came where those from ${this.#next} to ${this.#end} were to come`);
    this.#next += data.length;
    return data;
  }

  async #frame(): Promise<FileFrame | undefined> {
    const { done, value } = (await this.#call?.next()) ?? { done: true, value: undefined };
    return done ? undefined : readFileFrame(value as Buffer);
  }

  /** Lets the call end as it should, so that both sides know that all came. That it breaks now is no loss; that it says what came is bad, is. */
  async #finish(): Promise<void> {
    const call = this.#call;
    this.#call = undefined;
    if (!call) return;
    try {
      if (!(await call.next()).done) throw malformed('more bytes came than were asked for');
    } catch (error) {
      if (!(error instanceof FedgateError) || BAD.has(error.status)) throw error;
    } finally {
      await call.return(undefined).catch(() => undefined);
    }
  }

  async #broke(error: unknown): Promise<void> {
    this.#drop();
    await this.#patience.wait(error);
  }

  #drop(): void {
    const call = this.#call;
    this.#call = undefined;
    call?.return(undefined).catch(() => undefined);
  }
}

const malformed = (what: string): FedgateError =>
  new FedgateError('FRAME_MALFORMED', `the gateway broke its contract: ${what}`);
