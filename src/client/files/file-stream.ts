import { fieldError } from '../../errors.js';
import { ContentStream } from './content-stream.js';
import { checkId, checkWhole } from './convert.js';
import { newDownloadId } from './part-file.js';
import type { TransferHost } from './patience.js';
import { PieceCheck } from './piece-check.js';
import type { FetchStreamOptions, SharedFile } from './types.js';

/** Bytes of a share as they come. Iterate it once; leaving the loop ends the download, and so does `close`. */
export interface FileStream extends AsyncIterable<Buffer> {
  readonly share: SharedFile;
  close(): void;
}

/** See `FedgateClient.fetchStream`. */
export async function fetchStream(
  host: TransferHost,
  shareId: string,
  options: FetchStreamOptions,
): Promise<FileStream> {
  const offset = checkWhole(options.offset ?? 0, 'offset');
  if (options.length === 0) throw fieldError('length', 'must be 1 at least; leave it out for all that there is');
  const length = checkWhole(options.length ?? 0, 'length');
  const downloadId = options.downloadId ? checkId(options.downloadId, 'downloadId') : newDownloadId();
  const content = new ContentStream(host, { shareId, offset, length, downloadId, checksWhole: false }, options);
  try {
    const { share, manifest } = await content.open();
    const totalBytes = length === 0 ? share.size - offset : length;
    const isWhole = offset === 0 && totalBytes === share.size;
    const bytes = read(content, new PieceCheck(manifest, offset), totalBytes, isWhole, options);
    return { share, [Symbol.asyncIterator]: () => bytes, close: () => content.close() };
  } catch (error) {
    content.close();
    throw error;
  }
}

async function* read(
  content: ContentStream,
  check: PieceCheck,
  totalBytes: number,
  isWhole: boolean,
  { offset = 0, onProgress }: FetchStreamOptions,
): AsyncGenerator<Buffer> {
  try {
    for (let bytes = await content.next(); bytes; bytes = await content.next()) {
      check.update(bytes);
      yield bytes;
      onProgress?.({ doneBytes: content.offset - offset, totalBytes, resumedBytes: 0 });
    }
    if (isWhole) check.end();
  } finally {
    content.close();
  }
}
