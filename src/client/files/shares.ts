import {
  type ListSharesResponse,
  FileServiceService as methods,
} from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { firstOf } from '../../files/abort.js';
import { callServerStream, callUnary } from '../../transport/client-calls.js';
import { checkId, checkWhole, toAudience, toSharedFile, toTransfer } from './convert.js';
import { type TransferHost, throwIfGivenUp } from './patience.js';
import type { ShareChanges, SharedFile, Transfer } from './types.js';

/** For calls that the own gateway answers by itself, milliseconds. */
const QUICK = { timeoutMs: 10_000 };
/** For those that it may have to ask another organisation about, milliseconds. */
const REMOTE = { timeoutMs: 30_000 };
const MAX_DOWNLOADS = 0xffffffff;

/** The calls about shares that move no content. What they throw: see FedgateClient. */

export async function getShare({ channel }: TransferHost, shareId: string): Promise<SharedFile> {
  const request = { shareId, withManifest: false };
  return toSharedFile((await callUnary(channel, methods.getShare, request, REMOTE)).share);
}

export async function* listShares(host: TransferHost): AsyncGenerator<SharedFile> {
  let pageToken = '';
  do {
    const request = { pageSize: 0, pageToken };
    const page: ListSharesResponse = await callUnary(host.channel, methods.listShares, request, QUICK);
    for (const share of page.shares) yield toSharedFile(share);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}

export async function updateShare(
  { channel }: TransferHost,
  shareId: string,
  { audience, expireTimeMs, maxDownloads }: ShareChanges,
): Promise<SharedFile> {
  const request = {
    shareId,
    audience: audience && toAudience(audience),
    expireTimeMs: expireTimeMs === undefined ? undefined : BigInt(checkWhole(expireTimeMs, 'expireTimeMs')),
    maxDownloads: maxDownloads === undefined ? undefined : checkWhole(maxDownloads, 'maxDownloads', MAX_DOWNLOADS),
  };
  return toSharedFile((await callUnary(channel, methods.updateShare, request, QUICK)).share);
}

export async function unshare({ channel }: TransferHost, shareId: string): Promise<void> {
  await callUnary(channel, methods.unshare, { shareId }, QUICK);
}

export async function cancelUpload({ channel }: TransferHost, uploadId: Uint8Array): Promise<void> {
  await callUnary(channel, methods.cancelUpload, { uploadId: checkId(uploadId, 'uploadId') }, QUICK);
}

export async function* watchTransfers(
  host: TransferHost,
  shareId: string,
  signal: AbortSignal,
): AsyncGenerator<Transfer> {
  const over = firstOf([signal, host.ended]);
  try {
    for await (const { transfer } of callServerStream(host.channel, methods.watchTransfers, { shareId }, over.signal))
      if (transfer) yield toTransfer(transfer);
  } catch (error) {
    throwIfGivenUp(host.ended);
    throw error;
  } finally {
    over.stop();
  }
}
