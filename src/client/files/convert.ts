import {
  type Audience,
  type Share,
  Transfer_Kind as TransferKind,
  type Transfer as TransferMessage,
  Transfer_State as TransferState,
} from '../../../gen/ts/fedgate/files/v1/file_service.js';
import { FedgateError, fieldError } from '../../errors.js';
import type { AudienceInit, SharedFile, Transfer } from './types.js';

/** What the SDK says and what the contract says, one into the other. */

export const toAudience = ({ orgs = [], nodes = [], groups = [], anyone = false }: AudienceInit): Audience => ({
  orgs: [...orgs],
  nodes: [...nodes],
  groups: [...groups],
  anyone,
});

/** Throws FRAME_MALFORMED when the gateway left it out. */
export function toSharedFile(share: Share | undefined): SharedFile {
  if (!share) throw new FedgateError('FRAME_MALFORMED', 'the gateway left the share out of its answer');
  const { id, ownerNode, name, mediaType, audience, downloads, requiresApproval } = share;
  return {
    id,
    ownerNode,
    name,
    mediaType,
    size: Number(share.size),
    sha256: hex(share.sha256),
    manifestSha256: hex(share.manifestSha256),
    audience: audience && { ...audience },
    createTimeMs: Number(share.createTimeMs),
    expireTimeMs: Number(share.expireTimeMs) || undefined,
    maxDownloads: share.maxDownloads || undefined,
    downloads,
    requiresApproval,
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const KINDS: ReadonlyMap<TransferKind, Transfer['kind']> = new Map([
  [TransferKind.KIND_UPLOAD, 'upload'],
  [TransferKind.KIND_FETCH, 'fetch'],
  [TransferKind.KIND_SEND, 'send'],
]);
const STATES: ReadonlyMap<TransferState, Transfer['state']> = new Map([
  [TransferState.STATE_ACTIVE, 'active'],
  [TransferState.STATE_DONE, 'done'],
  [TransferState.STATE_ENDED, 'ended'],
]);

export const toTransfer = (transfer: TransferMessage): Transfer => ({
  ...transfer,
  kind: KINDS.get(transfer.kind) ?? 'unknown',
  state: STATES.get(transfer.state) ?? 'unknown',
  totalBytes: Number(transfer.totalBytes) || undefined,
  doneBytes: Number(transfer.doneBytes),
  receivedBytes: Number(transfer.receivedBytes),
  startTimeMs: Number(transfer.startTimeMs),
});

/** Checks an id that the caller drew. Throws FIELD_INVALID. */
export function checkId(id: Uint8Array, field: string): Buffer {
  if (id.length !== 16) throw fieldError(field, 'must be 16 bytes');
  return Buffer.from(id);
}

/** Checks a number of bytes, milliseconds or downloads that goes into the contract. Throws FIELD_INVALID. */
export function checkWhole(value: number, field: string, most = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw fieldError(field, `must be a whole number from 0 ${most === Number.MAX_SAFE_INTEGER ? 'on' : `to ${most}`}`);
  return value;
}
