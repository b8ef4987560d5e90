import { BatchHeader } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow, StreamRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import type { OrgName } from '../../identity/names.js';
import { key } from '../../store/keys.js';
import type { Row, Store } from '../../store/store.js';
import { LOST_CHANNEL, type SentBatch, type StreamPosition, type Withheld } from '../types.js';
import type { Seal } from './seal.js';
import type { StreamState } from './state.js';

/** The rows of outboxes. What stands in them is in outbox.proto. */

export const TABLE = {
  /** org → StreamRow */
  stream: 'stream',
  /** org, epoch, sequence → OutboxRow */
  batch: 'outbox',
  /** org, epoch, last sequence → ReceiptRow */
  receipt: 'receipt',
  /** SHA-256 → DER */
  certificate: 'certificate',
  /** org, epoch, sequence → OutcomeRow */
  outcome: 'outcome',
  /** org, number, instance → a StreamNotice that is to be sent */
  notice: 'notice',
  /** org, number, instance → an Exchange of approvals that is to be sent */
  approval: 'outbox-approval',
  /** org, number, instance → a StoredExchange that is to be sent */
  request: 'outbox-request',
  /** expire time, org, epoch, sequence → nothing */
  expiry: 'expiry',
} as const;

export const positionKey = (org: OrgName, { epoch, sequence }: StreamPosition): Buffer => key(org, epoch, sequence);

/** The log of bodies of an organisation's batches: they are reserved in the order of the positions. */
export const bodiesOf = (org: OrgName): string => `outbox-${org}`;

/** The position at the end of such a key. */
export const positionOf = (bytes: Buffer): StreamPosition => ({
  epoch: bytes.readBigUInt64BE(bytes.length - 16),
  sequence: Number(bytes.readBigUInt64BE(bytes.length - 8)),
});

const WITHHELD: readonly (Withheld | undefined)[] = [undefined, 'expired', 'purged', 'lost'];
export const withheldOf = (row: OutboxRow): Withheld | undefined => WITHHELD[row.withheld];
export const withheldNumber = (why: Withheld): OutboxRow['withheld'] => WITHHELD.indexOf(why) as OutboxRow['withheld'];

export const encodeOutboxRow = (row: OutboxRow): Buffer => Buffer.from(OutboxRow.encode(row).finish());

/** What of a row counts as waiting: nothing is held of a batch whose records are held back. */
export const sizeOf = (row: OutboxRow): { readonly records: number; readonly bytes: number } =>
  row.withheld === 0 ? { records: row.records, bytes: Number(row.bytes) } : { records: 0, bytes: 0 };

/** The row of a batch, damaged or not; undefined when there is none. `store.get` would reject. */
export async function batchRow(store: Store, org: OrgName, position: StreamPosition): Promise<Row | undefined> {
  const from = positionKey(org, position);
  const [row] = await store.scan(TABLE.batch, { from, to: Buffer.concat([from, Buffer.of(0)]), limit: 1 });
  return row;
}

/** What stands in the place of a batch whose row is damaged. */
export function lostRow(seal: Seal, org: OrgName, position: StreamPosition, nowMs: number): OutboxRow {
  return {
    ...seal.sealLost(org, position, nowMs),
    body: undefined,
    records: 1,
    bytes: 0n,
    storedMs: BigInt(nowMs),
    expireMs: 0n,
    withheld: withheldNumber('lost'),
    certificateSha256: seal.certificate.sha256,
  };
}

/** As it is listed. */
export function sentBatchOf(org: OrgName, row: Row): SentBatch {
  const position = positionOf(row.key);
  if (!row.damaged) return toSentBatch(org, position, OutboxRow.decode(row.value));
  const unknown = { senderNode: '', notifyConsumed: false, recordCount: 1, bytes: 0, storedMs: 0, expireMs: 0 };
  return { ...position, ...unknown, org, channel: LOST_CHANNEL, withheld: 'lost' };
}

export function toSentBatch(org: OrgName, position: StreamPosition, row: OutboxRow): SentBatch {
  const { channel, senderNode, notifyConsumed } = BatchHeader.decode(row.header);
  return {
    ...position,
    org,
    channel,
    senderNode,
    notifyConsumed,
    recordCount: row.records,
    bytes: Number(row.bytes),
    storedMs: Number(row.storedMs),
    expireMs: Number(row.expireMs),
    withheld: withheldOf(row),
  };
}

export const encodeStreamRow = (state: StreamState): Buffer =>
  Buffer.from(
    StreamRow.encode({
      epochs: state.epochs.map(({ epoch, next }) => ({ epoch, nextSequence: BigInt(next) })),
      storeId: state.storeId,
      ackedEpoch: state.acked?.epoch ?? 0n,
      ackedSequence: BigInt(state.acked?.sequence ?? 0),
      waitingBatches: BigInt(state.batches),
      waitingRecords: BigInt(state.records),
      waitingBytes: BigInt(state.bytes),
      keptBytes: BigInt(state.keptBytes),
      paused: state.paused,
      peerStoreId: state.peerStoreId,
    }).finish(),
  );

export function decodeStreamRow(bytes: Buffer): StreamState {
  const row = StreamRow.decode(bytes);
  return {
    epochs: row.epochs.map(({ epoch, nextSequence }) => ({ epoch, next: Number(nextSequence) })),
    storeId: Buffer.from(row.storeId),
    acked: row.ackedEpoch === 0n ? undefined : { epoch: row.ackedEpoch, sequence: Number(row.ackedSequence) },
    batches: Number(row.waitingBatches),
    records: Number(row.waitingRecords),
    bytes: Number(row.waitingBytes),
    keptBytes: Number(row.keptBytes),
    paused: row.paused,
    peerStoreId: Buffer.from(row.peerStoreId),
  };
}
