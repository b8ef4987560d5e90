import type { ClientWritableStream } from '@grpc/grpc-js';
import {
  FileServiceService as methods,
  type Share,
  ShareResponse,
  ShareStart,
} from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError } from '../../errors.js';
import { FrameWriter } from '../../transport/frame-writer.js';
import { fromGrpcError } from '../../transport/status.js';
import { encodeOpening } from '../../wire/file-frames.js';
import { Deferred } from '../deferred.js';
import type { TransferHost } from './patience.js';
import type { Source } from './source.js';

const untouched = (bytes: Buffer): Buffer => bytes;

/**
 * One Share call: sends a source from a place on, as fast as it is taken, and resolves with the share. `onSent` hears where the next byte
 * begins. Throws FILE_CHANGED and what the source throws, CANCELLED, and what the gateway or the connection ended it with.
 */
export async function upload(
  { uploads, ended }: TransferHost,
  start: ShareStart,
  source: Source,
  offset: number,
  onSent: (end: number) => void,
  signal: AbortSignal | undefined,
): Promise<Share> {
  // Fires when the gateway has answered, whatever it was.
  const over = new AbortController();
  const answered = new Deferred<ShareResponse>();
  const decode = (bytes: Buffer): ShareResponse => ShareResponse.decode(bytes);
  const stream = uploads.makeClientStreamRequest(methods.share.path, untouched, decode, (error, response) => {
    if (error || !response) answered.reject(fromGrpcError(error));
    else answered.resolve(response);
    over.abort();
  });
  const cancel = (): void => stream.cancel();
  for (const each of [signal, ended]) each?.addEventListener('abort', cancel, { once: true });
  try {
    // Not waited for: a source that gives nothing at the moment must not keep us from hearing what the gateway says.
    send(stream, start, source, offset, onSent, over.signal).catch(error => answered.reject(error));
    const { share } = await answered.promise;
    if (!share) throw new FedgateError('FRAME_MALFORMED', 'the gateway left the share out of its answer');
    return share;
  } finally {
    for (const each of [signal, ended]) each?.removeEventListener('abort', cancel);
  }
}

async function send(
  stream: ClientWritableStream<Buffer>,
  start: ShareStart,
  source: Source,
  offset: number,
  onSent: (end: number) => void,
  over: AbortSignal,
): Promise<void> {
  try {
    const writer = new FrameWriter<Buffer>(stream, over);
    await writer.send(encodeOpening(ShareStart.encode(start).finish()));
    for await (const { frame, end } of source.frames(offset)) {
      await writer.send(frame);
      onSent(end);
    }
    await source.checkUnchanged();
    stream.end();
  } catch (error) {
    // A gateway that answers before the end says why, or that it has all.
    if (over.aborted) return;
    stream.cancel();
    throw error;
  }
}
