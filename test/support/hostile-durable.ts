import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import {
  BatchHeader,
  type Credit,
  type Hello,
  type LaneFrame,
  type Receipt,
} from '../../gen/ts/fedgate/federation/v1/federation_service.js';
import { signDetached } from '../../src/identity/signing.js';
import { LANE } from '../../src/link/hello.js';
import { makeReceipt, type Receipted, type ReceiptTerms } from '../../src/link/receipt.js';
import { encodeBatchFrame, openLaneFrame, type SealedBatch } from '../../src/wire/lane-frames.js';
import type { RecordBlock } from '../../src/wire/records.js';
import {
  frameBytes,
  type HostileGateway,
  type HostileLink,
  hello,
  otherFrame,
  type RawStream,
  recordBlock,
} from './attack.js';
import { FEDERATION } from './registry.js';

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

let epochs = 0n;
/** Higher than any before. */
export const nextEpoch = (): bigint => BigInt(Date.now()) * 2n ** 20n + ++epochs;

/** Lies in the header of a durable batch, and about it. */
export interface DurableLies extends Partial<BatchHeader> {
  readonly records?: RecordBlock;
  readonly key?: KeyObject;
}

export interface ReceiptLies extends Partial<ReceiptTerms> {
  readonly epoch?: bigint;
  readonly first?: number;
  readonly batches?: readonly Receipted[];
  readonly key?: KeyObject;
}

/** The durable lane of ACME to GLOBEX, by hand. */
export class HostileDurable {
  readonly link: HostileLink;
  readonly lane: RawStream;
  readonly epoch: bigint;
  /** What GLOBEX said. */
  readonly theirs: Hello;
  readonly #gateway: HostileGateway;
  #sequence = 0;

  private constructor(gateway: HostileGateway, link: HostileLink, lane: RawStream, epoch: bigint, theirs: Hello) {
    this.#gateway = gateway;
    this.link = link;
    this.lane = lane;
    this.epoch = epoch;
    this.theirs = theirs;
  }

  /** Opens all three lanes; the hello of the durable one holds the lies told. */
  static async open(gateway: HostileGateway, lies: Partial<Hello> = {}): Promise<HostileDurable> {
    const link = await gateway.link();
    const epoch = lies.streamEpoch ?? nextEpoch();
    const lane = gateway.lane().write(
      gateway.hello(LANE.durable, link.linkId, {
        streamEpoch: epoch,
        newestEpoch: epoch,
        nextSequence: 1n,
        storeId: randomBytes(16),
        ...lies,
      }),
    );
    return new HostileDurable(gateway, link, lane, epoch, await hello(lane));
  }

  /** The next batch, good but for the lies. */
  seal(lies: DurableLies = {}): SealedBatch {
    const { records = recordBlock('good'), key = this.#gateway.key, ...fields } = lies;
    const header = Buffer.from(
      BatchHeader.encode({
        federation: FEDERATION,
        originOrg: this.#gateway.org,
        originGateway: 'gw1',
        recipientOrg: 'GLOBEX',
        channel: 'orders/new',
        senderNode: 'billing',
        streamEpoch: this.epoch,
        sequence: fields.sequence ?? BigInt(++this.#sequence),
        recordCount: records.count,
        contentSha256: sha256(records.bytes),
        timeMs: BigInt(Date.now()),
        patienceMs: 0,
        requests: [],
        replies: [],
        durable: true,
        expireTimeMs: 0n,
        notifyConsumed: false,
        ...fields,
      }).finish(),
    );
    return { header, signature: signDetached('batch', key, header), records };
  }

  send(lies: DurableLies = {}): this {
    this.lane.write(encodeBatchFrame(this.seal(lies)));
    return this;
  }

  put(frame: NonNullable<LaneFrame['frame']>): this {
    this.lane.write(frameBytes(frame));
    return this;
  }

  credit(bytes = 64 * 1024 * 1024, more: Partial<Credit> = {}): this {
    return this.put({
      $case: 'credit',
      value: { bytes: BigInt(bytes), receiptedEpoch: 0n, receiptedSequence: 0n, ...more },
    });
  }

  /** A batch of GLOBEX. */
  batch(sequence: number): Promise<{ readonly sealed: SealedBatch; readonly header: BatchHeader }> {
    return this.lane.until(bytes => {
      const opened = openLaneFrame(bytes);
      if (!('batch' in opened)) return undefined;
      const header = BatchHeader.decode(opened.batch.header);
      return header.sequence === BigInt(sequence) ? { sealed: opened.batch, header } : undefined;
    });
  }

  /** The receipt that covers a batch of ours. */
  receipt(): Promise<Receipt> {
    return this.lane.until(bytes => {
      const frame = otherFrame(bytes);
      return frame?.$case === 'receipt' ? frame.value : undefined;
    });
  }

  /** A receipt for batches of GLOBEX, good but for the lies. */
  answer(sealed: SealedBatch, header: BatchHeader, lies: ReceiptLies = {}): Receipt {
    const { epoch = header.streamEpoch, first = Number(header.sequence), key = this.#gateway.key, ...rest } = lies;
    const terms = {
      federation: FEDERATION,
      recipientOrg: this.#gateway.org,
      recipientGateway: 'gw1',
      originOrg: 'GLOBEX',
      originGateway: 'gw1',
      ...rest,
    };
    const batches = lies.batches ?? [{ headerSha256: sha256(sealed.header), refusal: undefined }];
    return makeReceipt(terms, { epoch, sequence: first }, batches, key, Date.now());
  }

  /** How the lane ended. */
  get ended(): RawStream['ended'] {
    return this.lane.ended;
  }
}
