import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { FileServiceService as methods, type ShareStart } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import { callUnary } from '../../transport/client-calls.js';
import { checkId, checkWhole, toAudience, toSharedFile } from './convert.js';
import { Patience, type TransferHost, throwIfGivenUp } from './patience.js';
import { cancelUpload } from './shares.js';
import { type Committed, FileSource, type Source } from './source.js';
import { StreamSource } from './stream-source.js';
import type { SharedFile, ShareOptions, ShareSource } from './types.js';
import { upload } from './upload.js';

const QUICK = { timeoutMs: 10_000 };
const MAX_DOWNLOADS = 0xffffffff;
/** Once is what happens: whoever is overtaken again and again has a gateway that breaks its contract. */
const MAX_OVERTAKEN = 3;

/** Shares a source, and resumes by itself where that can be done. What it throws: see `FedgateClient.share`. */
export async function share(host: TransferHost, source: ShareSource, options: ShareOptions): Promise<SharedFile> {
  const start = startOf(source, options);
  throwIfGivenUp(options.signal);
  const input = await openSource(source, options);
  try {
    return await new Sharing(host, input, { ...start, size: sizeField(input.size) }, options).run();
  } finally {
    await input.close();
  }
}

/** Throws FIELD_INVALID. */
function startOf(source: ShareSource, options: ShareOptions): ShareStart {
  const { name, mediaType = '', audience = {}, expiresMs, expireTimeMs, maxDownloads = 0, uploadId } = options;
  if (expiresMs !== undefined && expireTimeMs !== undefined)
    throw fieldError('expiresMs', 'give one of expiresMs and expireTimeMs');
  const endMs = expiresMs === undefined ? (expireTimeMs ?? 0) : Date.now() + checkWhole(expiresMs, 'expiresMs');
  return {
    uploadId: uploadId === undefined ? randomBytes(16) : checkId(uploadId, 'uploadId'),
    size: undefined,
    name: name ?? (typeof source === 'string' ? basename(source) : 'file'),
    mediaType,
    audience: toAudience(audience),
    expireTimeMs: BigInt(checkWhole(endMs, 'expireTimeMs')),
    maxDownloads: checkWhole(maxDownloads, 'maxDownloads', MAX_DOWNLOADS),
    requiresApproval: options.requiresApproval === true,
  };
}

async function openSource(source: ShareSource, { followLinks = true, sizeBytes }: ShareOptions): Promise<Source> {
  if (typeof source === 'string') return FileSource.open(source, followLinks);
  if (typeof source?.[Symbol.asyncIterator] !== 'function')
    throw fieldError('source', 'is neither a path nor a stream');
  return new StreamSource(source, sizeBytes === undefined ? undefined : checkWhole(sizeBytes, 'sizeBytes'));
}

const sizeField = (size: number | undefined): bigint | undefined => (size === undefined ? undefined : BigInt(size));

/** One file on its way to the gateway, over as many calls as it takes. */
class Sharing {
  readonly #host: TransferHost;
  readonly #source: Source;
  readonly #start: ShareStart;
  readonly #options: ShareOptions;
  readonly #patience: Patience;
  /** Whether the gateway may have something of it already, and whether that must be compared with what is here. */
  #begun: boolean;
  #compare: boolean;
  #overtaken = 0;
  #committed = 0;
  #resumedBytes = 0;

  constructor(host: TransferHost, source: Source, start: ShareStart, options: ShareOptions) {
    this.#host = host;
    this.#source = source;
    this.#start = start;
    this.#options = options;
    this.#patience = new Patience(host, options);
    // Who names an upload may have begun it in another process, with the file as it was then.
    this.#begun = options.uploadId !== undefined;
    this.#compare = this.#begun;
  }

  async run(): Promise<SharedFile> {
    try {
      for (;;) {
        try {
          return await this.#attempt();
        } catch (error) {
          throwIfGivenUp(this.#host.ended);
          if (!this.#source.repeatable) throw this.#outcome(error);
          if (!this.#isOvertaken(error)) await this.#patience.wait(error);
          this.#begun = true;
        }
      }
    } catch (error) {
      this.#giveUp();
      throw error;
    }
  }

  async #attempt(): Promise<SharedFile> {
    const found = this.#begun ? await this.#find() : undefined;
    if (found && 'id' in found) return found;
    const from = found?.committedSize ?? 0;
    if (from > this.#committed) this.#patience.moved();
    this.#committed = from;
    this.#report(from);
    const { signal } = this.#options;
    const onSent = (end: number): void => this.#report(end);
    return toSharedFile(await upload(this.#host, this.#start, this.#source, from, onSent, signal));
  }

  /** What the gateway has of it: nothing, a part, or the share that it became. Throws FILE_CHANGED when that is not what is here. */
  async #find(): Promise<Committed | SharedFile | undefined> {
    const { uploadId } = this.#start;
    const answer = await callUnary(this.#host.channel, methods.getUpload, { uploadId }, QUICK).catch(error => {
      if (error instanceof FedgateError && error.reason === 'UPLOAD_UNKNOWN') return undefined;
      throw error;
    });
    const compare = this.#compare;
    this.#compare = false;
    if (!answer) return undefined;
    if (answer.share) {
      const shared = toSharedFile(answer.share);
      if (compare) await this.#source.compareWhole(shared.sha256, this.#options.signal);
      return shared;
    }
    const committed = committedOf(answer);
    if (compare) {
      await this.#source.compare(committed, this.#options.signal);
      this.#resumedBytes = committed.committedSize;
    }
    return committed;
  }

  /**
   * Whether an earlier call, of a process or a connection that is gone without the gateway knowing, wrote on after it was asked how far the
   * upload is. It is over since we began, so what it wrote is compared, and gone on behind.
   */
  #isOvertaken(error: unknown): boolean {
    if (!(error instanceof FedgateError) || error.reason !== 'OFFSET_INVALID') return false;
    this.#compare = true;
    return this.#overtaken++ < MAX_OVERTAKEN;
  }

  /** A stream cannot be sent again; whether the gateway has all of it is not known when the connection broke. */
  #outcome(error: unknown): unknown {
    if (!(error instanceof FedgateError) || error.status !== 'UNAVAILABLE') return error;
    return new FedgateError('OUTCOME_UNKNOWN', `the connection ended before the answer: ${error.message}`, {
      cause: error,
    });
  }

  /** An upload that nobody else can name is of no use any more. */
  #giveUp(): void {
    if (this.#options.uploadId !== undefined) return;
    const { uploadId } = this.#start;
    cancelUpload(this.#host, uploadId).catch(() => undefined);
  }

  #report(doneBytes: number): void {
    this.#options.onProgress?.({ doneBytes, totalBytes: this.#source.size, resumedBytes: this.#resumedBytes });
  }
}

function committedOf(answer: { committedSize: bigint; pieceSize: number; pieceSha256: Uint8Array }): Committed {
  const committedSize = Number(answer.committedSize);
  const { pieceSize } = answer;
  const pieces = Buffer.from(answer.pieceSha256);
  const count = committedSize === 0 ? 0 : Math.ceil(committedSize / pieceSize);
  if (pieces.length !== count * 32)
    throw new FedgateError('FRAME_MALFORMED', 'the gateway does not name the pieces that it has');
  return { committedSize, pieceSize, pieces };
}
