import type { PlacedFrame } from '../wire/messaging-frames.js';
import { FieldReader } from '../wire/reader.js';
import { Message } from './message.js';
import type { NackOptions } from './settlements.js';

/** The stream that delivered records, and settles them. */
export interface Settler {
  /** Whether the stream broke: what of it was not handed out comes again. */
  readonly broken: boolean;
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

  /** What is still out, in runs. */
  *runs(): Generator<{ readonly first: number; readonly last: number }> {
    for (let i = 0; i < this.count && this.#left > 0; ) {
      const from = i;
      while (i < this.count && this.#returned?.[i] !== 1) i++;
      if (i > from) yield { first: this.offset + from, last: this.offset + i - 1 };
      while (i < this.count && this.#returned?.[i] === 1) i++;
    }
  }
}

/** A frame of records as it was delivered, or a part of it. */
export class Delivery {
  readonly frame: PlacedFrame & { readonly last?: number };
  readonly out: OutRange;
  readonly #settler: Settler;

  constructor(frame: Delivery['frame'], settler: Settler, out?: OutRange) {
    this.frame = frame;
    this.#settler = settler;
    this.out = out ?? new OutRange(frame.offset, countOf(frame));
  }

  get first(): number {
    return this.frame.offset;
  }

  get broken(): boolean {
    return this.#settler.broken;
  }

  get last(): number {
    return this.frame.last ?? this.out.last;
  }

  /** What of it the program is to get: not what it was done with before this came. */
  *remaining(): Generator<Delivery> {
    if (this.out.left === this.out.count) yield this;
    else for (const { first, last } of this.out.runs()) yield this.#part(first, last);
  }

  #part(first: number, last: number): Delivery {
    const { frame } = this;
    const reader = new FieldReader(frame.bytes, frame.recordsStart);
    let recordsStart = frame.bytes.length;
    let end = recordsStart;
    for (let offset = frame.offset; offset <= last && reader.next(); offset++) {
      if (offset === first) recordsStart = reader.tagStart;
      end = reader.end;
    }
    const part = { ...frame, offset: first, last, bytes: frame.bytes.subarray(0, end), recordsStart };
    return new Delivery(part, this.#settler, this.out);
  }

  settle(kind: 'ack' | 'nack', first: number, last: number, options?: NackOptions): Promise<void> {
    return this.#settler.settle(kind, this.out, first, last, options);
  }

  inProgress(first: number, last: number): void {
    this.#settler.inProgress(first, last);
  }
}

function countOf({ bytes, recordsStart }: PlacedFrame): number {
  const reader = new FieldReader(bytes, recordsStart);
  let count = 0;
  while (reader.next()) count++;
  return count;
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
   * Says that it is done with. Resolves when that is on stable storage; nobody needs to wait for it. When the stream breaks first, the
   * subscription carries it on to the next one and does not hand the record out again. Rejects with OUTCOME_UNKNOWN when nothing is
   * heard of it for a minute or the subscription ends, and with CANCELLED when the subscription is over.
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
  /** The last record that is the program's to settle. */
  #last: number;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
    this.#last = delivery.last;
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
    return this.#delivery.last - this.#delivery.first + 1;
  }

  /** How often they were delivered, this time included. */
  get deliveryCount(): number {
    return this.#delivery.frame.deliveryCount;
  }

  /** All of them at once; as that of a message. */
  ack(): Promise<void> {
    return this.#settle('ack');
  }

  /** All of them at once; as that of a message. */
  nack(options: NackOptions = {}): Promise<void> {
    return this.#settle('nack', options);
  }

  /** All of them at once; as that of a message. */
  inProgress(): void {
    if (this.#last >= this.offset) this.#delivery.inProgress(this.offset, this.#last);
  }

  /** Ends early when the stream breaks meanwhile: the rest comes again, and is no longer of this batch. */
  *[Symbol.iterator](): Generator<DurableMessage> {
    const { bytes, recordsStart } = this.#delivery.frame;
    const reader = new FieldReader(bytes, recordsStart);
    for (let i = 0; reader.next(); i++) {
      if (this.#delivery.broken) {
        this.#last = Math.min(this.#last, this.offset + i - 1);
        return;
      }
      yield new DurableMessage(this.#delivery, i, reader.start, reader.end);
    }
  }

  #settle(kind: 'ack' | 'nack', options?: NackOptions): Promise<void> {
    if (this.#last < this.offset) return Promise.resolve();
    return this.#delivery.settle(kind, this.offset, this.#last, options);
  }
}
