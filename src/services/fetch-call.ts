import { randomBytes } from 'node:crypto';
import { FetchOpened, type FetchRequest } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { firstOf, unlessAborted } from '../files/abort.js';
import type { OpenFetch } from '../files/fetch/remote-fetch.js';
import { parseShareId } from '../files/share-id.js';
import { fetchQuestion } from '../policy/types.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { encodeChunk, encodeOpening } from '../wire/file-frames.js';
import type { FetchRoom } from './fetch-room.js';
import type { FileHost } from './file-host.js';
import { readId, readOffset, toManifest } from './file-messages.js';
import { ProgressGuard } from './progress-guard.js';
import { whileGranted } from './while-granted.js';

/** Carries out one Fetch call. Throws what it ends with. */
export async function fetchCall(
  request: FetchRequest,
  out: FrameWriter<Buffer>,
  node: string,
  host: FileHost,
  room: FetchRoom,
  signal: AbortSignal,
): Promise<void> {
  const ref = parseShareId(request.shareId, 'share_id');
  host.access.checkFetch(node, ref.org);
  if (host.policy.asks('fetch'))
    await host.policy.check(fetchQuestion({ org: host.org, node }, ref.org, request.shareId));
  const offset = readOffset(request.offset);
  const length = readOffset(request.length);
  const downloadId = request.downloadId.length === 0 ? randomBytes(16) : readId(request.downloadId, 'download_id');
  const wanted = { offset, length, downloadId, checksWhole: request.checksWhole };
  const guard = new ProgressGuard(host.progress);
  const granted = whileGranted(host.access, () => host.access.checkFetch(node, ref.org));
  const stop = firstOf([signal, host.draining, guard.stalled, granted.gone]);
  const leave = room.enter();
  try {
    const fetch = await host.fetcher.fetch(node, ref, wanted, stop.signal);
    let complete = false;
    try {
      await out.send(opened(fetch, request.withManifest, host));
      await send(fetch, offset, { out, room }, guard, stop.signal);
      complete = true;
    } finally {
      fetch.close(complete);
    }
  } finally {
    leave();
    stop.stop();
    guard.stop();
    granted.stop();
  }
}

function opened(fetch: OpenFetch, withManifest: boolean, { shareFor }: FileHost): Buffer {
  const message = FetchOpened.encode({
    share: shareFor(fetch.share),
    manifest: withManifest ? toManifest(fetch.manifest) : undefined,
    cachedBytes: BigInt(fetch.cachedBytes),
  });
  return encodeOpening(message.finish());
}

async function send(
  fetch: OpenFetch,
  offset: number,
  { out, room }: { readonly out: FrameWriter<Buffer>; readonly room: FetchRoom },
  guard: ProgressGuard,
  signal: AbortSignal,
): Promise<void> {
  let at = offset;
  for await (const bytes of fetch.chunks()) {
    for (let left = bytes; left.length > 0; ) {
      const part = left.subarray(0, room.frameBytes(left.length));
      const sent = out.sendPaced(encodeChunk(at, part), room.framesEach);
      await guard.waiting(unlessAborted(sent, signal));
      guard.moved(part.length);
      at += part.length;
      left = left.subarray(part.length);
    }
  }
}
