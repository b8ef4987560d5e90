import type {
  StreamNotice_DeadLettered as DeadLettered,
  StreamNotice,
} from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import type { FedgateError } from '../errors.js';
import type { OrgName } from '../identity/names.js';
import type { Pattern } from '../messaging/address.js';
import type { Change } from '../store/store.js';
import type { RecordBlock } from '../wire/records.js';
import type { ControlChannel } from './control.js';

/** What the parts of the durable machinery know of each other. */

/** A place in a stream of batches from one gateway to one organisation. Epochs only rise; sequences begin at 1 in each. */
export interface StreamPosition {
  readonly epoch: bigint;
  readonly sequence: number;
}

/** Names a stream as its receiver knows it. */
export interface StreamId {
  readonly org: OrgName;
  readonly gateway: string;
}

export type Withheld = 'expired' | 'purged' | 'lost';

// ---- the sending side -------------------------------------------------------------------------------------------------------------

/** What a publisher hands to an outbox. */
export interface OutgoingRecords {
  readonly channel: string;
  readonly senderNode: string;
  readonly records: RecordBlock;
  /** 0: for ever. */
  readonly ttlMs: number;
  readonly notifyConsumed: boolean;
  readonly idempotency?: Idempotency | undefined;
}

/** How a repeated call is known. */
export type Idempotency =
  | { readonly kind: 'id'; readonly id: string }
  | { readonly kind: 'producer'; readonly id: string; readonly epoch: number; readonly sequence: number };

/** Records in an outbox. */
export interface Stored extends StreamPosition {
  /** They were stored by an earlier call. */
  readonly duplicate: boolean;
}

/** A batch as an outbox gives it to the link. */
export interface SealedDurable extends StreamPosition {
  readonly header: Buffer;
  readonly signature: Buffer;
  /** Undefined: withheld. */
  readonly records: RecordBlock | undefined;
  readonly withheld: Withheld | undefined;
}

/** What waits for one organisation, with its numbering and signatures. All that it promises is on stable storage. */
export interface Outbox {
  readonly org: OrgName;
  /** The first position without a receipt: what the next hello says. */
  readonly unreceipted: StreamPosition;
  readonly newestEpoch: bigint;
  readonly paused: boolean;
  readonly waiting: {
    readonly batches: number;
    readonly records: number;
    readonly bytes: number;
    readonly oldestMs: number;
  };

  /** Stores records; resolves when they are on stable storage. Rejects with OUTBOX_FULL, STORE_*, SEQUENCE_GAP, PRODUCER_FENCED. */
  append(records: OutgoingRecords): Promise<Stored>;
  /** Puts a notice into a change that the caller commits in this same turn. It is told once, if that is committed, soon after. */
  appendNotice(change: Change, notice: StreamNotice): void;
  /** The same for a record of any reserved channel. Throws a RangeError for one that is too large to be sent. */
  appendControl(change: Change, channel: ControlChannel, payload: Uint8Array): void;
  /** Resolves when a batch has a receipt. Rejects with the peer's refusal, or PURGED, EXPIRED. */
  received(position: StreamPosition, signal: AbortSignal): Promise<void>;
  /** Resolves when the peer said that it was consumed. Rejects as `received`, or DEAD_LETTERED. */
  consumed(position: StreamPosition, signal: AbortSignal): Promise<void>;

  /** Batches from a position on, waiting for new ones; ends when the signal fires. One reader at a time. */
  read(from: StreamPosition, signal: AbortSignal): AsyncIterable<SealedDurable>;
  /**
   * Takes a receipt whose signature was verified. Resolves when that is on stable storage. Rejects with WATERMARK_INVALID for batches never
   * sent, RECEIPT_INVALID for one that does not follow the one before or whose digests are not those of the batches.
   */
  settle(receipt: VerifiedReceipt): Promise<void>;
  /**
   * Judges what the peer says it has (its hello), and answers from where to send. Throws WATERMARK_INVALID for what cannot be:
   * batches that were never sent, or fewer than it gave receipts for without a restored store.
   */
  resume(received: StreamPosition | undefined, peerStoreId: Buffer): Promise<StreamPosition>;
  /** The records of a batch that was sent earlier, if they are still held. */
  refetch(position: StreamPosition): Promise<RecordBlock | undefined>;
  /** A notice of the peer about batches sent earlier, with the change that stores it. What is returned is called once that is committed. */
  noticed(notice: StreamNotice, change: Change): () => void;
}

/** A receipt as the link hands it over: of a form that is right, signed by the peer, for batches of ours. */
export interface VerifiedReceipt {
  readonly epoch: bigint;
  readonly first: number;
  readonly last: number;
  /** SHA-256 of each header, in order. Empty for one that the peer no longer knows. */
  readonly headerSha256: readonly Uint8Array[];
  readonly refusals: readonly { readonly sequence: number; readonly error: FedgateError }[];
  /** The signed bytes, the signature, and the certificate of the peer. */
  readonly body: Buffer;
  readonly signature: Buffer;
  readonly certificate: { readonly sha256: Buffer; readonly der: Buffer };
}

/** An outbox as its gateway's operator sees it. */
export interface ManagedOutbox extends Outbox {
  readonly maxBytes: number;
  /** The last position with a receipt; undefined: there is none yet. */
  readonly receipted: StreamPosition | undefined;
  /** What the next batch gets. */
  readonly next: StreamPosition;
  /** The first batches that wait. */
  head(limit: number): Promise<readonly SentBatch[]>;
  /** Stops or goes on with the sending. Resolves when that is on stable storage. */
  setPaused(paused: boolean): Promise<void>;
  /** Drops what waits and is not on its way at this moment. Those who wait for an answer get PURGED. */
  purge(): Promise<{ readonly batches: number; readonly records: number }>;
}

/** A batch of an outbox, without its records. */
export interface SentBatch extends StreamPosition {
  readonly org: OrgName;
  readonly channel: string;
  readonly senderNode: string;
  readonly recordCount: number;
  readonly bytes: number;
  readonly storedMs: number;
  /** 0: never. */
  readonly expireMs: number;
  readonly notifyConsumed: boolean;
  readonly withheld: Withheld | undefined;
}

/** Hears of records that were sent and are of no avail, with the change that makes it so: the place for what is to be kept of them. */
export interface DeadLetterSink {
  /** The other organisation refused a batch. Undefined records: they cannot be read any more. */
  refused(change: Change, batch: SentBatch, records: RecordBlock | undefined, error: FedgateError): void;
  /** A durable subscription there gave a record up. `refetch` of the outbox has the records while they are kept. */
  gaveUp(change: Change, org: OrgName, notice: DeadLettered): void;
}

/**
 * Hears that the other organisation's gateway refused what was said to it on a reserved channel, with the change that makes it so. Returns what is to
 * be done once that is committed. Does not throw: the refusal stands.
 */
export type ControlRefused = (
  refused: {
    readonly org: OrgName;
    readonly channel: ControlChannel;
    readonly payloads: readonly Buffer[];
    readonly error: FedgateError;
  },
  change: Change,
) => () => void;

/** The channel of a batch whose row was damaged before it was sent: which it was is not known. */
export const LOST_CHANNEL = '$lost';

/** What happens to an outbox that its operator should see in the log. */
export type OutboxEvent =
  | {
      readonly kind: 'withheld';
      readonly org: OrgName;
      readonly why: Withheld;
      readonly batches: number;
      readonly records: number;
    }
  | { readonly kind: 'refused'; readonly batch: SentBatch; readonly error: FedgateError }
  | { readonly kind: 'epoch'; readonly org: OrgName; readonly epoch: bigint; readonly why: string }
  | { readonly kind: 'peer-restored'; readonly org: OrgName; readonly received: StreamPosition | undefined }
  /** The row of a batch that has a receipt was not what was written, and is gone. */
  | ({ readonly kind: 'damaged'; readonly org: OrgName } & StreamPosition)
  /** Rows of a reserved channel that were to be sent were not what was written, and are gone. */
  | { readonly kind: 'damaged-notice'; readonly org: OrgName; readonly channel: ControlChannel; readonly rows: number }
  | { readonly kind: 'failed'; readonly org: OrgName; readonly error: unknown };

// ---- the receiving side -----------------------------------------------------------------------------------------------------------

/** A verified batch that came over a durable lane, next in its stream. */
export interface ReceivedDurable extends StreamPosition {
  readonly from: StreamId;
  readonly channel: string;
  readonly senderNode: string;
  readonly header: Buffer;
  readonly signature: Buffer;
  /** SHA-256 of the certificate that it was verified with, and the certificate (DER). */
  readonly certificate: { readonly sha256: Buffer; readonly der: Buffer };
  readonly contentSha256: Buffer;
  readonly recordCount: number;
  readonly expireMs: number;
  readonly sentMs: number;
  readonly notifyConsumed: boolean;
  readonly records: RecordBlock | undefined;
  readonly withheld: Withheld | undefined;
  /** Why it is not to be stored, as judged by the access rules; it counts as received all the same. */
  readonly refusal: FedgateError | undefined;
}

/** The receiving half: what arrives for this organisation becomes part of the log. */
export interface Inbox {
  /** What is on stable storage of a stream; undefined: nothing ever came. */
  watermark(from: StreamId): StreamPosition | undefined;
  /**
   * Stores a batch and moves the watermark in one commit. Resolves when both are on stable storage. Order: that of the calls. With `extra`
   * the batch does not become part of the log: it speaks to this gateway, and `extra` puts what it says into the same change.
   */
  receive(batch: ReceivedDurable, extra?: (change: Change) => unknown): Promise<void>;
  /** The store was restored and the peer goes on further ahead: what lies between is reported as lost, and the watermark moves. */
  skip(from: StreamId, to: StreamPosition): Promise<void>;
  /** For receipts that got lost: SHA-256 of the header and the refusal of batches received earlier; undefined where no longer known. */
  remembered(
    from: StreamId,
    epoch: bigint,
    first: number,
    last: number,
  ): Promise<readonly (RememberedBatch | undefined)[]>;
  /** Receipts up to here arrived: what was kept for them may go. */
  confirmed(from: StreamId, position: StreamPosition): void;
  /** Bytes that may be on the way from this peer now; 0 when a cap is reached or the disk is full. */
  room(from: StreamId): number;
  /** Hears when the room of any stream may have changed. */
  onRoom(listener: () => void): () => void;
}

export interface RememberedBatch {
  readonly headerSha256: Buffer;
  readonly refusal: FedgateError | undefined;
}

/** A batch in the log of an organisation. It takes up `count` offsets from `offset` on. */
export interface LogEntry {
  readonly offset: number;
  readonly count: number;
  readonly channel: string;
  readonly senderOrg: OrgName;
  readonly senderNode: string;
  readonly storedMs: number;
  /** 0: never. */
  readonly expireMs: number;
  readonly bytes: number;
  /** Set when there are no records here and never will be: why, for people. `expired` when their time was over before they came. */
  readonly gap: { readonly kind: 'expired' | 'gap'; readonly reason: string } | undefined;
  /** The stream it came on; undefined: published in the own organisation. */
  readonly stream: (StreamPosition & { readonly from: StreamId }) | undefined;
  readonly notifyConsumed: boolean;
}

/** What the own organisation has stored, read by durable subscriptions. */
export interface Log {
  /** The oldest offset that is held, and the one that the next record gets. */
  readonly first: number;
  readonly end: number;
  /**
   * Entries that match from an offset on, in order, at most so many, and the offset to go on from. Never waits for new ones. There may be
   * none although `next` is before `end`: a bounded piece of the log was gone through. A gap without a channel matches every pattern.
   */
  read(
    from: number,
    pattern: Pattern,
    limit: number,
  ): Promise<{ readonly entries: readonly LogEntry[]; readonly next: number }>;
  /**
   * The records of an entry, digest checked; undefined when they are lost for good (the entry then has become a gap) or were trimmed. When
   * they went bad on the disk and their origin cannot be reached, this waits for it; the signal ends that, with CANCELLED.
   */
  records(entry: LogEntry, signal?: AbortSignal): Promise<RecordBlock | undefined>;
  /** The first offset that was stored at or after a time. */
  offsetAt(timeMs: number): Promise<number>;
  /** Hears of each entry once it is on stable storage, in order. Returns the way to stop that. */
  onAppended(listener: (entry: LogEntry) => void): () => void;
  /** Stores records published in the own organisation. Resolves with the offset of the first. */
  append(records: OutgoingRecords): Promise<{ readonly offset: number; readonly duplicate: boolean }>;
  /** Tells what a durable subscription still needs: nothing of its pattern from this offset on is trimmed. */
  hold(subscription: string, pattern: Pattern, from: number): void;
  release(subscription: string): void;
}
