import { createHash } from 'node:crypto';
import type { FedgateClient, SharedFile, ShareOptions } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { forFiles } from '../../at-once.js';
import { DIRECTORY_TYPE, encodeListing, type ListedFile } from '../../directory-listing.js';
import type { CliEnv } from '../../env.js';
import type { TransferNotes } from '../../transfer-notes.js';
import { FolderReport, type ProgressReport, TransferReport } from '../../transfer-report.js';
import type { FileToShare, FolderToShare, ListedToShare, ToShare } from './sources.js';
import type { Terms } from './terms.js';

export interface SharerOptions extends Terms {
  readonly name: string | undefined;
  readonly mediaType: string | undefined;
  readonly requiresApproval: boolean;
  readonly json: boolean;
}

export interface SharedFolder {
  /** Of the listing. */
  readonly share: SharedFile;
  readonly listed: readonly ListedFile[];
}

/** After these an upload cannot go on. */
const OVER: ReadonlySet<FedgateError['reason']> = new Set(['FILE_CHANGED', 'UPLOAD_MISMATCH']);

/** Shares files on one set of terms, so that the same command goes on where it was interrupted. */
export class Sharer {
  readonly #env: CliEnv;
  readonly #client: FedgateClient;
  readonly #notes: TransferNotes;
  readonly #options: SharerOptions;

  constructor(env: CliEnv, client: FedgateClient, notes: TransferNotes, options: SharerOptions) {
    this.#env = env;
    this.#client = client;
    this.#notes = notes;
    this.#options = options;
  }

  async share(source: ToShare): Promise<SharedFile> {
    if (source.kind === 'file') return this.#file(source.file, this.#options.mediaType);
    if (source.kind === 'stdin') return this.#stream(this.#env.stdin, '-', 'stdin', this.#options.mediaType);
    return (await this.folder(source)).share;
  }

  /** Shares a folder; also tells what its listing says. */
  async folder({ path, name, files }: Pick<FolderToShare, 'path' | 'name' | 'files'>): Promise<SharedFolder> {
    const report = new FolderReport(this.#env, this.#options.json, files);
    const share = async (file: ListedToShare): Promise<ListedFile> => {
      const { id, size, sha256 } = await this.#file(file, undefined, report.file({ file: file.path }));
      return { path: file.listed, size, sha256, share: id };
    };
    const listed = await forFiles(files, share).finally(() => report.clear());
    return { share: await this.bytes(encodeListing(listed), path, name, DIRECTORY_TYPE), listed };
  }

  /** Shares what is made here. `path`: what is reported. */
  async bytes(bytes: Buffer, path: string, name: string, mediaType: string): Promise<SharedFile> {
    const { audience, expiresMs, maxDownloads, requiresApproval } = this.#options;
    const terms = [audience, expiresMs, maxDownloads, requiresApproval, name, mediaType];
    const digest = createHash('sha256').update(bytes).digest('hex');
    const { id: uploadId, expireTimeMs } = await this.#notes.recall(['upload', digest, terms], expiresMs);
    const options = { ...this.#common(mediaType), name, uploadId, expireTimeMs, sizeBytes: bytes.length };
    return this.#run(chunksOf(bytes), options, this.#report(path));
  }

  async #file(
    file: FileToShare,
    mediaType: string | undefined,
    report: ProgressReport = this.#report(file.path),
  ): Promise<SharedFile> {
    const { path, absolute, size, mtimeMs, followLinks } = file;
    const name = this.#options.name ?? file.name;
    const { audience, expiresMs, maxDownloads, requiresApproval } = this.#options;
    const terms = [audience, expiresMs, maxDownloads, requiresApproval, name, mediaType];
    const facts = ['upload', absolute, size, mtimeMs, terms];
    const { id: uploadId, expireTimeMs } = await this.#notes.recall(facts, expiresMs);
    try {
      return await this.#run(path, { ...this.#common(mediaType), name, uploadId, expireTimeMs, followLinks }, report);
    } catch (error) {
      if (error instanceof FedgateError && OVER.has(error.reason)) {
        await this.#notes.forget(facts);
        await this.#client.cancelUpload(uploadId).catch(() => undefined);
      }
      throw error;
    }
  }

  #stream(
    bytes: AsyncIterable<Uint8Array>,
    path: string,
    name: string,
    mediaType: string | undefined,
  ): Promise<SharedFile> {
    const { expiresMs } = this.#options;
    const options = { ...this.#common(mediaType), name: this.#options.name ?? name, expiresMs };
    return this.#run(bytes, options, this.#report(path));
  }

  #common(mediaType: string | undefined): ShareOptions {
    const { audience, maxDownloads, requiresApproval } = this.#options;
    return { audience, maxDownloads, requiresApproval, mediaType };
  }

  #report(file: string): ProgressReport {
    return new TransferReport(this.#env, this.#options.json, { file });
  }

  async #run(
    source: string | AsyncIterable<Uint8Array>,
    options: ShareOptions,
    report: ProgressReport,
  ): Promise<SharedFile> {
    try {
      const { onProgress } = report;
      return await this.#client.share(source, { ...options, onProgress, signal: this.#env.signal });
    } finally {
      report.stop();
    }
  }
}

async function* chunksOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
