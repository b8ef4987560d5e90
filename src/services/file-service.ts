import type { ServerReadableStream, ServiceDefinition } from '@grpc/grpc-js';
import {
  type CancelUploadRequest,
  type FetchRequest,
  FileServiceService,
  type GetShareRequest,
  type GetUploadRequest,
  type ListSharesRequest,
  type Share,
  type ShareResponse,
  type UnshareRequest,
  type UpdateShareRequest,
  type WatchTransfersRequest,
  type WatchTransfersResponse,
} from '../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError, fieldError } from '../errors.js';
import { firstOf } from '../files/abort.js';
import { organisationsOf, parseAudience } from '../files/audience.js';
import type { Contents } from '../files/content/types.js';
import { shareUnknown } from '../files/open-downloads.js';
import { formatShareId, parseShareId } from '../files/share-id.js';
import { type StoredShare, shareMessage } from '../files/share-row.js';
import type { ShareChanges } from '../files/shares.js';
import type { Manifest, ShareFacts } from '../files/types.js';
import type { OrgName } from '../identity/names.js';
import type { CallContext, CallWrapper, Handlers } from '../transport/calls.js';
import type { FrameWriter } from '../transport/frame-writer.js';
import { fetchCall } from './fetch-call.js';
import { FetchRoom } from './fetch-room.js';
import type { FileHost } from './file-host.js';
import {
  checkFuture,
  readId,
  readPageToken,
  readTime,
  toManifest,
  toOwnShare,
  toPageToken,
  toTransfer,
} from './file-messages.js';
import { ShareCall } from './share-call.js';

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;
/** Share calls of one node at once. */
const MAX_UPLOADS_PER_NODE = 100;

const untouched = (bytes: Buffer): Buffer => bytes;

/** The service with the frames that carry content left as bytes. */
export const fileDefinition: ServiceDefinition = {
  ...FileServiceService,
  share: { ...FileServiceService.share, requestDeserialize: untouched },
  fetch: { ...FileServiceService.fetch, responseSerialize: untouched },
} as ServiceDefinition;

type Caller = { readonly name: string };
type Context = CallContext<Caller>;

/** Files, for nodes of the own organisation. */
export function fileService(wrapper: CallWrapper<Caller>, host: FileHost): Handlers<typeof FileServiceService> {
  return { ...contentMethods(wrapper, host), ...shareMethods(wrapper, host) };
}

function contentMethods(wrapper: CallWrapper<Caller>, host: FileHost) {
  const { contents, shares } = host;
  const room = new FetchRoom();
  const uploads = new Map<string, number>();
  return {
    share: wrapper.clientStream(
      async (call: ServerReadableStream<Buffer, ShareResponse>, { caller, signal }: Context) => {
        const leave = enter(uploads, caller.name);
        try {
          return await new ShareCall(call, caller.name, host).run(signal);
        } finally {
          leave();
        }
      },
    ),
    getUpload: wrapper.unary(async ({ uploadId }: GetUploadRequest, { caller }: Context) => {
      const id = readId(uploadId, 'upload_id');
      const finished = await shares.ofUpload(caller.name, id);
      if (finished) return { ...(await piecesOf(contents, finished)), share: toOwnShare(finished) };
      const upload = await contents.findUpload(caller.name, id);
      if (!upload) throw new FedgateError('UPLOAD_UNKNOWN', 'nothing of that upload is there');
      const { committedSize, pieceSize, pieces } = upload;
      return { committedSize: BigInt(committedSize), pieceSize, pieceSha256: pieces, share: undefined };
    }),
    cancelUpload: wrapper.unary(async ({ uploadId }: CancelUploadRequest, { caller }: Context) => {
      await contents.cancelUpload(caller.name, readId(uploadId, 'upload_id'));
      return {};
    }),
    fetch: wrapper.serverStream((request: FetchRequest, out: FrameWriter<Buffer>, { caller, signal }: Context) =>
      fetchCall(request, out, caller.name, host, room, signal),
    ),
    watchTransfers: wrapper.serverStream(
      async ({ shareId }: WatchTransfersRequest, out: FrameWriter<WatchTransfersResponse>, context: Context) => {
        const { caller } = context;
        const share = shareId === '' ? '' : formatShareId(parseShareId(shareId, 'share_id'));
        const all = mayAdminister(host, caller.name);
        const stop = firstOf([context.signal, host.draining]);
        const wanted = host.transfers.watch(
          ({ kind, node, shareId: of }) =>
            (all || (kind !== 'send' && node === caller.name)) && (share === '' || share === of),
          stop.signal,
        );
        try {
          for await (const transfer of wanted) await out.send({ transfer: toTransfer(transfer) });
        } finally {
          stop.stop();
        }
      },
    ),
  };
}

function shareMethods(wrapper: CallWrapper<Caller>, host: FileHost) {
  const { shares, access, groups, org } = host;
  /** The id of a share of the own organisation. One of another is unknown to those who would change it. */
  const ownId = (text: string): Buffer => {
    const ref = parseShareId(text, 'share_id');
    if (ref.org !== org) throw shareUnknown(text);
    return ref.id;
  };
  /** For others it is not there, whatever else they may do with it. */
  const mayChange = (node: string) => (share: StoredShare) => {
    if (share.ownerNode !== node && !mayAdminister(host, node)) throw shareUnknown(formatShareId(share));
  };
  return {
    getShare: wrapper.unary(async ({ shareId, withManifest }: GetShareRequest, { caller, signal }: Context) => {
      const { share, manifest } = await look(host, caller.name, shareId, signal);
      return { share, manifest: withManifest ? toManifest(manifest) : undefined };
    }),
    listShares: wrapper.unary(async ({ pageSize, pageToken }: ListSharesRequest, { caller }: Context) => {
      if (pageSize > MAX_PAGE) throw fieldError('page_size', `is over ${MAX_PAGE}`);
      const owner = mayAdminister(host, caller.name) ? undefined : caller.name;
      const found = await shares.list(owner, readPageToken(pageToken), pageSize || DEFAULT_PAGE);
      return { shares: found.shares.map(toOwnShare), nextPageToken: toPageToken(found.last) };
    }),
    updateShare: wrapper.unary(async (request: UpdateShareRequest, { caller }: Context) => {
      const id = ownId(request.shareId);
      const changes = readChanges(request, host);
      for (const named of changes.audience ? organisationsOf(changes.audience, groups) : []) {
        access.checkShare(caller.name, named);
      }
      return { share: toOwnShare(await shares.change(id, mayChange(caller.name), changes)) };
    }),
    unshare: wrapper.unary(async ({ shareId }: UnshareRequest, { caller }: Context) => {
      await shares.unshare(ownId(shareId), mayChange(caller.name));
      return {};
    }),
  };
}

/** Throws FIELD_INVALID. */
function readChanges(request: UpdateShareRequest, { groups, now }: FileHost): ShareChanges {
  const { audience, expireTimeMs, maxDownloads } = request;
  const expireMs = expireTimeMs === undefined ? undefined : readTime(expireTimeMs, 'expire_time_ms');
  if (expireMs !== undefined) checkFuture(expireMs, now(), 'expire_time_ms');
  return {
    ...(audience === undefined ? {} : { audience: parseAudience(audience, groups, 'audience') }),
    ...(expireMs === undefined ? {} : { expireMs }),
    ...(maxDownloads === undefined ? {} : { maxDownloads }),
  };
}

/** A share as its owner and administrators see it, also without the right to fetch; and as whoever may fetch it does. */
async function look(host: FileHost, node: string, shareId: string, signal: AbortSignal) {
  const ref = parseShareId(shareId, 'share_id');
  const { shares, contents, access, fetcher, shareFor, org } = host;
  const own = ref.org === org ? await shares.get(ref.id) : undefined;
  if (own && own.unsharedMs === 0 && (own.ownerNode === node || mayAdminister(host, node))) {
    const held = await contents.hold(own.manifestSha256);
    if (!held) throw new FedgateError('FILE_DAMAGED', `the content of ${shareId} is not on the disk any more`);
    held.release();
    return { share: toOwnShare(own), manifest: held.manifest };
  }
  access.checkFetch(node, ref.org);
  const found = await fetcher.look(node, ref, signal);
  return { share: shareFor(found.share), manifest: found.manifest };
}

/** Shares of the own organisation with their audience and count, others without. */
export const shareForNodesOf =
  (org: OrgName) =>
  (share: ShareFacts): Share =>
    share.org === org && 'audience' in share ? toOwnShare(share as StoredShare) : shareMessage(share);

async function piecesOf(contents: Contents, share: StoredShare) {
  const held = await contents.hold(share.manifestSha256);
  held?.release();
  const { pieceSize, pieces }: Pick<Manifest, 'pieceSize' | 'pieces'> = held?.manifest ?? {
    pieceSize: 0,
    pieces: Buffer.alloc(0),
  };
  return { committedSize: BigInt(share.size), pieceSize, pieceSha256: pieces };
}

function mayAdminister({ access }: FileHost, node: string): boolean {
  try {
    access.checkAdmin(node);
    return true;
  } catch {
    return false;
  }
}

/** Throws LIMIT_REACHED. */
function enter(uploads: Map<string, number>, node: string): () => void {
  const open = uploads.get(node) ?? 0;
  if (open >= MAX_UPLOADS_PER_NODE) {
    throw new FedgateError('LIMIT_REACHED', `node ${node} has ${open} uploads open`, {
      metadata: { limit: 'uploads per node' },
      retryAfterMs: 1_000,
    });
  }
  uploads.set(node, open + 1);
  return () => {
    const left = (uploads.get(node) ?? 1) - 1;
    if (left > 0) uploads.set(node, left);
    else uploads.delete(node);
  };
}
