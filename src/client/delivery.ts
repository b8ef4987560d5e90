import type { PlacedFrame } from '../wire/messaging-frames.js';
import { FieldReader } from '../wire/reader.js';
import { Message } from './message.js';
import type { NackOptions } from './settlements.js';

/** The stream that delivered records, and settles them. */
export interface Settler {
  settle(kind: 'ack' | 'nack', out: OutRange, first: number, last: number, options?: NackOptions): Promise<void>;
  inProgress(first: number, last: number): void;
}

/** Records that were delivered together and are out until each is settled. Holds no bytes: it may be kept for long. */
export class OutRange {
  readonly offset: number;
  readonly count: number;
  #left: number;
  /** Which are not out any more; made when the first is settled by itself. */
  #returned: Uint8Array | undefined;

  constructor(offset: number, count: number) {
    this.offset = offset;
    this.count = count;
    this.#left = count;
  }

  get last(): number {
    return this.offset + this.count - 1;
  }

  /** How many are still out. */
  get left(): number {
    return this.#left;
  }

  /** Marks records as not out any more; tells how many of them were. */
  giveBack(first: number, last: number): number {
    const from = Math.max(first, this.offset) - this.offset;
    const to = Math.min(last, this.last) - this.offset;
    if (to < from) return 0;
    const before = this.#left;
    if (to - from + 1 === this.count) this.#left = 0;
    else if (before > 0) {
      this.#returned ??= new Uint8Array(this.count);
      for (let i = from; i <= to; i++) {
        if (this.#returned[i] === 0) this.#left--;
        this.#returned[i] = 1;
      }
    }
    return before - this.#left;
  }
}

/** A frame of records as it was delivered. */
export class Delivery {
  readonly frame: PlacedFrame;
  readonly out: OutRange;
  readonly #settler: Settler;

  constructor(frame: PlacedFrame, settler: Settler) {
    this.frame = frame;
    this.#settler = settler;
    const reader = new FieldReader(frame.bytes, frame.recordsStart);
    let count = 0;
    while (reader.next()) count++;
    this.out = new OutRange(frame.offset, count);
  }

  settle(kind: 'ack' | 'nack', first: number, last: number, options?: NackOptions): Promise<void> {
    return this.#settler.settle(kind, this.out, first, last, options);
  }

  inProgress(first: number, last: number): void {
    this.#settler.inProgress(first, last);
  }
}

/** A record of a durable subscription. It is delivered again unless it is acknowledged. */
export class DurableMessage extends Message {
  readonly #delivery: Delivery;
  /** Its place in the log of the own organisation. */
  readonly offset: number;

  constructor(delivery: Delivery, index: number, start: number, end: number) {
    super(delivery.frame.bytes, start, end, delivery.frame);
    this.#delivery = delivery;
    this.offset = delivery.frame.offset + index;
  }

  /** How often it was delivered, this time included. */
  get deliveryCount(): number {
    return this.#delivery.frame.deliveryCount;
  }

  get redelivered(): boolean {
    return this.deliveryCount > 1;
  }

  /** When the own gateway stored it. */
  get storedTime(): Date {
    return new Date(this.#delivery.frame.storedMs);
  }

  /**
   * Says that it is done with. Resolves when that is on stable storage; nobody needs to wait for it. Rejects with OUTCOME_UNKNOWN when
   * the stream broke first, and with CANCELLED when the stream that delivered the record is over: it is then delivered again.
   */
  ack(): Promise<void> {
    return this.#delivery.settle('ack', this.offset, this.offset);
  }

  /** Gives it back, to be delivered again or made a dead letter. Resolves and rejects as `ack` does. */
  nack(options: NackOptions = {}): Promise<void> {
    return this.#delivery.settle('nack', this.offset, this.offset, options);
  }

  /** Says that it is being worked on: its ack wait begins anew. */
  inProgress(): void {
    this.#delivery.inProgress(this.offset, this.offset);
  }
}

/** Records of one channel from one publisher that were delivered together; at least one. */
export class DurableBatch implements Iterable<DurableMessage> {
  readonly #delivery: Delivery;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
  }

  get channel(): string {
    return this.#delivery.frame.channel;
  }

  get senderOrg(): string {
    return this.#delivery.frame.senderOrg;
  }

  get senderNode(): string {
    return this.#delivery.frame.senderNode;
  }

  /** The offset of the first record; that of each further one is one higher. */
  get offset(): number {
    return this.#delivery.frame.offset;
  }

  /** How many records. */
  get count(): number {
    return this.#delivery.out.count;
  }

  /** How often they were delivered, this time included. */
  get deliveryCount(): number {
    return this.#delivery.frame.deliveryCount;
  }

  /** All of them at once; as that of a message. */
  ack(): Promise<void> {
    return this.#delivery.settle('ack', this.offset, this.#delivery.out.last);
  }

  /** All of them at once; as that of a message. */
  nack(options: NackOptions = {}): Promise<void> {
    return this.#delivery.settle('nack', this.offset, this.#delivery.out.last, options);
  }

  /** All of them at once; as that of a message. */
  inProgress(): void {
    this.#delivery.inProgress(this.offset, this.#delivery.out.last);
  }

  *[Symbol.iterator](): Generator<DurableMessage> {
    const { bytes, recordsStart } = this.#delivery.frame;
    const reader = new FieldReader(bytes, recordsStart);
    for (let i = 0; reader.next(); i++) yield new DurableMessage(this.#delivery, i, reader.start, reader.end);
  }
}
