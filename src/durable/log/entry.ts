import { LogChannelRow, LogGap_Kind, LogRow } from '../../../gen/ts/fedgate/store/v1/log.js';
import type { OrgName } from '../../identity/names.js';
import type { Pattern } from '../../messaging/address.js';
import { matches } from '../../messaging/pattern.js';
import { numberAt } from '../../store/keys.js';
import type { BodyRef, Row } from '../../store/store.js';
import type { LogEntry } from '../types.js';

/** An entry as the log itself knows it: with the place of its records. */
export interface HeldEntry extends LogEntry {
  readonly body: BodyRef | undefined;
  readonly contentSha256: Buffer;
}

/** What proves where an entry came from: kept in its row only. */
export interface EntryProof {
  readonly header: Buffer;
  readonly signature: Buffer;
  readonly certificateSha256: Buffer;
}

export const NO_PROOF: EntryProof = {
  header: Buffer.alloc(0),
  signature: Buffer.alloc(0),
  certificateSha256: Buffer.alloc(0),
};

export const endOf = ({ offset, count }: { readonly offset: number; readonly count: number }): number => offset + count;

/** What came where the channel is not known concerns everybody. */
export const concerns = (pattern: Pattern, channel: string): boolean => channel === '' || matches(pattern, channel);

export function encodeEntry(entry: HeldEntry, proof: EntryProof): Buffer {
  const { stream, gap } = entry;
  return Buffer.from(
    LogRow.encode({
      count: entry.count,
      channel: entry.channel,
      senderOrg: entry.senderOrg,
      senderNode: entry.senderNode,
      storedMs: BigInt(entry.storedMs),
      expireMs: BigInt(entry.expireMs),
      bytes: entry.bytes,
      body: entry.body,
      contentSha256: entry.contentSha256,
      gap: gap && {
        kind: gap.kind === 'expired' ? LogGap_Kind.KIND_EXPIRED : LogGap_Kind.KIND_LOST,
        reason: gap.reason,
      },
      stream: stream && {
        gateway: stream.from.gateway,
        epoch: stream.epoch,
        sequence: BigInt(stream.sequence),
        header: proof.header,
        signature: proof.signature,
        certificateSha256: proof.certificateSha256,
      },
      notifyConsumed: entry.notifyConsumed,
    }).finish(),
  );
}

export function decodeEntry({ key, value }: Pick<Row, 'key' | 'value'>): HeldEntry {
  const row = LogRow.decode(value);
  const { stream, gap } = row;
  const senderOrg = row.senderOrg as OrgName;
  return {
    offset: numberAt(key, 0),
    count: row.count,
    channel: row.channel,
    senderOrg,
    senderNode: row.senderNode,
    storedMs: Number(row.storedMs),
    expireMs: Number(row.expireMs),
    bytes: row.bytes,
    gap: gap && { kind: gap.kind === LogGap_Kind.KIND_EXPIRED ? 'expired' : 'gap', reason: gap.reason },
    stream: stream && {
      from: { org: senderOrg, gateway: stream.gateway },
      epoch: stream.epoch,
      sequence: Number(stream.sequence),
    },
    notifyConsumed: row.notifyConsumed,
    body: row.body,
    contentSha256: Buffer.from(row.contentSha256),
  };
}

/** What can be known of an entry whose row is damaged: what the index of its channel says. */
export type DamagedFacts = Pick<HeldEntry, 'offset' | 'count' | 'channel' | 'senderOrg' | 'storedMs' | 'bytes'>;

/** What stands in the log where a row is damaged. */
export const damagedEntry = (facts: DamagedFacts): HeldEntry => ({
  ...facts,
  senderNode: '',
  expireMs: 0,
  gap: { kind: 'gap', reason: 'their row in the store is not what was written' },
  stream: undefined,
  notifyConsumed: false,
  body: undefined,
  contentSha256: Buffer.alloc(0),
});

export function decodeProof(value: Buffer): EntryProof {
  const { stream } = LogRow.decode(value);
  if (!stream) return NO_PROOF;
  return {
    header: Buffer.from(stream.header),
    signature: Buffer.from(stream.signature),
    certificateSha256: Buffer.from(stream.certificateSha256),
  };
}

export const encodeChannelRow = (entry: HeldEntry, totalBytes: number): Buffer =>
  Buffer.from(
    LogChannelRow.encode({
      count: entry.count,
      bytes: entry.bytes,
      storedMs: BigInt(entry.storedMs),
      senderOrg: entry.senderOrg,
      body: entry.body,
      totalBytes: BigInt(totalBytes),
    }).finish(),
  );
