import { lstat, stat } from 'node:fs/promises';
import { basename, dirname, sep } from 'node:path';
import { FileServiceService as methods } from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../errors.js';
import type { Manifest } from '../../files/types.js';
import { callUnary } from '../../transport/client-calls.js';
import { CHUNK_BYTES } from '../../wire/file-frames.js';
import { ContentStream } from './content-stream.js';
import { checkId, toSharedFile } from './convert.js';
import { checkedManifest } from './manifest.js';
import { PartClaim } from './part-claim.js';
import { checkFree, newDownloadId, PartFile, type Sidecar } from './part-file.js';
import { mayPass, Patience, type TransferHost, throwIfGivenUp } from './patience.js';
import { PieceCheck } from './piece-check.js';
import { clearPublished } from './published.js';
import type { FetchedFile, FetchOptions, SharedFile } from './types.js';

/** A share may be asked for through another organisation, milliseconds. */
const LOOK = { timeoutMs: 30_000 };

/** Fetches a share to a path. What it throws: see `FedgateClient.fetch`. */
export async function fetchFile(host: TransferHost, shareId: string, options: FetchOptions): Promise<FetchedFile> {
  const { to, overwrite = false } = options;
  throwIfGivenUp(options.signal);
  await clearPublished(to);
  await checkTarget(to, overwrite);
  const claim = await PartClaim.take(to);
  const part = new PartFile(to);
  try {
    return await new Fetching(host, shareId, { part, claim }, options).run();
  } finally {
    await part.close();
    await claim.release();
  }
}

/** Finds out what would end it after all of it was fetched. Throws FILE_UNUSABLE. */
async function checkTarget(to: string, overwrite: boolean): Promise<void> {
  const unusable = (why: string): FedgateError => new FedgateError('FILE_UNUSABLE', `${to}: ${why}`);
  if (basename(to) === '' || to.endsWith('/') || to.endsWith(sep)) throw unusable('names a folder, not a file in it');
  if (!overwrite) await checkFree(to);
  const there = await lstat(to).catch(() => undefined);
  // A link is replaced, not what it leads to. A device, a pipe or a folder is nothing that a file could stand for.
  if (there && !there.isFile() && !there.isSymbolicLink()) throw unusable('is no regular file, and is not replaced');
  await stat(dirname(to)).catch(error => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw unusable(`there is no folder ${dirname(to)}`);
  });
}

/** One download on its way to a file. */
class Fetching {
  readonly #host: TransferHost;
  readonly #shareId: string;
  readonly #part: PartFile;
  readonly #claim: PartClaim;
  readonly #options: FetchOptions;
  #resumedBytes = 0;

  constructor(
    host: TransferHost,
    shareId: string,
    { part, claim }: { readonly part: PartFile; readonly claim: PartClaim },
    options: FetchOptions,
  ) {
    this.#host = host;
    this.#shareId = shareId;
    this.#part = part;
    this.#claim = claim;
    this.#options = options;
  }

  async run(): Promise<FetchedFile> {
    const { downloadId: chosen, to, overwrite = false } = this.#options;
    const found = await this.#part.sidecar();
    const earlier = found?.share === this.#shareId ? found : undefined;
    const downloadId = chosen ? checkId(chosen, 'downloadId') : earlier ? fromHex(earlier.downloadId) : newDownloadId();
    const left = earlier && (await this.#left(earlier));
    const note = {
      version: 1,
      share: this.#shareId,
      manifestSha256: '',
      downloadId: downloadId.toString('hex'),
    } as const;
    // Before anything is asked for, so that whoever dies now counts as one download with whoever goes on.
    if (!left) await this.#part.begin(note);
    const request = { shareId: this.#shareId, offset: left?.offset ?? 0, length: 0, downloadId, checksWhole: true };
    const content = new ContentStream(this.#host, request, this.#options);
    try {
      const { share, manifest } = await content.open();
      if (!left) await this.#part.note({ ...note, manifestSha256: share.manifestSha256 });
      else if (share.manifestSha256 !== earlier?.manifestSha256) throw changed();
      const check = left ?? new PieceCheck(manifest, 0);
      this.#resumedBytes = check.offset;
      check.checkWholeOnly();
      await this.#receive(content, check, manifest);
      await this.#accept(share);
      await this.#claim.check();
      await this.#part.publish(overwrite, () => this.#claim.release());
      return { share, path: to, resumedBytes: this.#resumedBytes };
    } catch (error) {
      if (content.offset === 0 && !mayGoOn(error)) await this.#part.discard();
      throw error;
    } finally {
      content.close();
    }
  }

  /** What an earlier call left, read and verified again; undefined when there is nothing of this content. */
  async #left(sidecar: Sidecar): Promise<PieceCheck | undefined> {
    const bytes = await this.#part.resume();
    const manifest = bytes > 0 ? await this.#look(sidecar) : undefined;
    if (!manifest) return undefined;
    return await this.#again(manifest, Math.min(bytes, manifest.size));
  }

  /** The manifest, before anything is fetched. Undefined: the share is of another content than before. */
  async #look({ manifestSha256 }: Sidecar): Promise<Manifest | undefined> {
    const patience = new Patience(this.#host, this.#options);
    const request = { shareId: this.#shareId, withManifest: true };
    for (;;) {
      try {
        const answer = await callUnary(this.#host.channel, methods.getShare, request, LOOK);
        const share = toSharedFile(answer.share);
        return share.manifestSha256 === manifestSha256 ? checkedManifest(answer.manifest, share) : undefined;
      } catch (error) {
        await patience.wait(error);
      }
    }
  }

  /** Reads what is in the part up to the first piece that is not whole and right. */
  async #verify(check: PieceCheck, bytes: number): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    try {
      while (check.offset < bytes) {
        throwIfGivenUp(this.#options.signal);
        const read = await this.#part.read(buffer.subarray(0, bytes - check.offset), check.offset);
        if (read === 0) break;
        check.update(buffer.subarray(0, read));
      }
    } catch (error) {
      if (!(error instanceof FedgateError) || error.reason !== 'PIECE_MISMATCH') throw error;
    }
    check.rewind();
  }

  /** Whatever is found wrong is looked for piece by piece from then on. */
  async #receive(content: ContentStream, first: PieceCheck, manifest: Manifest): Promise<void> {
    const { onProgress } = this.#options;
    let check = first;
    const report = (): void =>
      onProgress?.({ doneBytes: check.offset, totalBytes: manifest.size, resumedBytes: this.#resumedBytes });
    report();
    for (let damagedAt = -1; ; ) {
      try {
        for (let bytes = await content.next(); bytes; bytes = await content.next()) {
          await this.#take(bytes, check);
          report();
        }
        return await this.#judge(check);
      } catch (error) {
        // The gateway throws a damaged piece away, so that it may be right the second time.
        const wrong = isDamaged(error) || (check.wholeOnly && isLie(error));
        if (check.wholeOnly && wrong) check = await this.#again(manifest, check.offset);
        else check.rewind();
        // Its pieces are right, so its manifest lies.
        if (wrong && check.offset > 0 && check.offset === manifest.size) await this.#tell(content);
        if (!wrong || damagedAt === check.offset) throw error;
        damagedAt = check.offset;
        content.seek(check.offset);
      }
    }
  }

  /** Has the gateway look at the whole itself: it raises the alarm, and gives it to nobody any more. */
  async #tell(content: ContentStream): Promise<void> {
    content.seek(content.offset - 1);
    await content.next().catch(() => undefined);
  }

  /** What has come, read again up to the first wrong piece. */
  async #again(manifest: Manifest, bytes: number): Promise<PieceCheck> {
    const check = new PieceCheck(manifest, 0);
    await this.#verify(check, bytes);
    await this.#part.truncate(check.offset);
    return check;
  }

  /** The disk works while the digests are made. */
  async #take(bytes: Buffer, check: PieceCheck): Promise<void> {
    const written = this.#part.write(bytes, check.offset);
    try {
      check.update(bytes);
    } finally {
      await written;
    }
  }

  async #judge(check: PieceCheck): Promise<void> {
    try {
      check.end();
    } catch (error) {
      // Whether a piece or the manifest is wrong is to be found out first.
      if (!check.wholeOnly) await this.#part.discard();
      throw error;
    }
  }

  /** Asks whoever wanted the file whether it may appear. What is not accepted is not kept. */
  async #accept(share: SharedFile): Promise<void> {
    try {
      await this.#options.accept?.(share);
    } catch (error) {
      await this.#part.discard();
      throw error;
    }
  }
}

const fromHex = (text: string): Buffer => Buffer.from(text, 'hex');
const isDamaged = (error: unknown): boolean => error instanceof FedgateError && error.status === 'DATA_LOSS';
const isLie = (error: unknown): boolean => error instanceof FedgateError && error.reason === 'MANIFEST_INVALID';
const mayGoOn = (error: unknown): boolean => error instanceof FedgateError && (error.retryable || mayPass(error));
const changed = (): FedgateError =>
  new FedgateError('FILE_CHANGED', 'the share got another content in this moment; begin again');
