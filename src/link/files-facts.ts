import type { FileEnd } from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { Manifest as ManifestMessage, Share } from '../../gen/ts/fedgate/files/v1/file_service.js';
import { describe, FedgateError } from '../errors.js';
import { manifestDigest, manifestFromProto } from '../files/manifest.js';
import { formatShareId } from '../files/share-id.js';
import type { Manifest, ShareFacts } from '../files/types.js';
import { type OrgName, parseNodeName } from '../identity/names.js';
import { fromRpcStatus } from '../transport/status.js';

/** What is said of a share on a files lane. */

/** Longer texts of a peer are not kept. */
const MAX_NAME_BYTES = 255;
/** The longest message of a peer's refusal that is handed on. */
const MAX_REFUSAL_CHARACTERS = 500;

/** Without its audience and count: they are the owner's. */
export const shareToFrame = (facts: ShareFacts): Share => ({
  id: formatShareId(facts),
  ownerNode: facts.ownerNode,
  name: facts.name,
  mediaType: facts.mediaType,
  size: BigInt(facts.size),
  sha256: facts.sha256,
  manifestSha256: facts.manifestSha256,
  audience: undefined,
  createTimeMs: BigInt(facts.createMs),
  expireTimeMs: BigInt(facts.expireMs),
  maxDownloads: facts.maxDownloads,
  downloads: 0,
  requiresApproval: facts.requiresApproval,
});

/** What a peer says of the share that was asked for. Throws MANIFEST_INVALID unless all of it fits together. */
export function readOpened(
  share: Share | undefined,
  message: ManifestMessage | undefined,
  asked: { readonly org: OrgName; readonly id: Buffer },
): { readonly share: ShareFacts; readonly manifest: Manifest } {
  const manifest = manifestFromProto(message);
  if (!share || share.id !== formatShareId(asked)) throw wrong('it is of another share');
  if (share.size !== BigInt(manifest.size) || !manifest.sha256.equals(share.sha256))
    throw wrong('size or digest of the share are others');
  const manifestSha256 = manifestDigest(manifest);
  if (!manifestSha256.equals(share.manifestSha256)) throw wrong('its digest is not the one of the share');
  const { name, mediaType, maxDownloads, requiresApproval } = share;
  if (Buffer.byteLength(name) > MAX_NAME_BYTES || Buffer.byteLength(mediaType) > MAX_NAME_BYTES)
    throw wrong('a name or media type is too long');
  return {
    manifest,
    share: {
      ...asked,
      ownerNode: ownerOf(share),
      name,
      mediaType,
      size: manifest.size,
      sha256: manifest.sha256,
      manifestSha256,
      createMs: timeOf(share.createTimeMs),
      expireMs: timeOf(share.expireTimeMs),
      maxDownloads,
      requiresApproval,
    },
  };
}

/** A peer chooses what it ends a session with; it must not choose how much of our answer that fills, nor blame a defect of ours. */
export function readEnd({ error }: FileEnd, org: OrgName): FedgateError {
  if (!error) return new FedgateError('PEER_UNREACHABLE', `${org} ended the download`, { metadata: { org } });
  const { reason, message, metadata, retryAfterMs } = fromRpcStatus(error);
  const cut = message.length > MAX_REFUSAL_CHARACTERS ? `${message.slice(0, MAX_REFUSAL_CHARACTERS)}…` : message;
  if (reason === 'INTERNAL')
    return new FedgateError('PEER_UNREACHABLE', `${org} failed: ${cut}`, { metadata: { org } });
  const why = metadata.why === undefined ? {} : { why: metadata.why.slice(0, 100) };
  return new FedgateError(reason, cut, {
    metadata: { org, ...why },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function ownerOf({ ownerNode }: Share): string {
  try {
    return parseNodeName(ownerNode, 'owner_node');
  } catch (error) {
    throw wrong(describe(error));
  }
}

function timeOf(ms: bigint): number {
  if (ms < 0n || ms > BigInt(Number.MAX_SAFE_INTEGER)) throw wrong(`there is no time ${ms}`);
  return Number(ms);
}

const wrong = (what: string): FedgateError =>
  new FedgateError('MANIFEST_INVALID', `the manifest does not belong to the share: ${what}`);
