import type { FedgateError } from '../errors.js';
import { RecordEncoder, type RecordInit } from '../wire/record-codec.js';
import { FieldWriter } from '../wire/writer.js';
import type { PublishReport } from './report.js';
import { isLive, type Terms } from './terms.js';

/** Who publishes, as gateways know it for the sake of duplicates. */
export interface Producer {
  readonly id: string;
  readonly epoch: number;
}

/** What a frame costs beside its records: its buffer's spare room and the objects around it. */
const FRAME_OVERHEAD_BYTES = 512;
/** The most that the tags, lengths and numbers before the records take; the texts come on top. */
const HEADER_BYTES = 80;

/** Records to one address on the same terms, that share a frame and its answer. */
export class OutgoingFrame {
  readonly address: string;
  readonly terms: Terms;
  /** Whether it may be sent again without causing a duplicate. */
  readonly repeatable: boolean;
  readonly report: Promise<PublishReport>;
  /** By the monotonic clock, milliseconds: when it was begun, or the stream that carried it first broke. */
  waitingSinceMs = performance.now();
  /** Its place in the order of its address. */
  place = 0;
  /** Its number of the producer; 0: none yet. */
  sequence = 0;
  /** How often it was sent under that number. */
  sends = 0;
  /** Whether it was on its way when a stream broke: its fate is not known until it is answered. */
  lost = false;
  /** How often its number was too high. */
  gaps = 0;
  resolve!: (report: PublishReport) => void;
  reject!: (error: FedgateError) => void;
  readonly #dedupeId: Buffer | undefined;
  #encoder: RecordEncoder | undefined;
  #bytes = 0;

  constructor(address: string, terms: Terms, dedupeId: string | undefined, producerId: string, capacity: number) {
    this.address = address;
    this.terms = terms;
    this.repeatable = !isLive(terms);
    this.#dedupeId = dedupeId === undefined ? undefined : Buffer.from(dedupeId);
    const texts = address.length + (this.#dedupeId?.length ?? producerId.length);
    this.#encoder = new RecordEncoder(capacity, HEADER_BYTES + texts);
    this.report = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever publishes may not look at the answer; that is no unhandled rejection.
    this.report.catch(() => undefined);
  }

  /** Whether it carries a number of its producer. A frame with an id of its own needs none. */
  get numbered(): boolean {
    return this.repeatable && this.#dedupeId === undefined;
  }

  /** Bytes of its records. */
  get bytes(): number {
    return this.#encoder?.length ?? this.#bytes;
  }

  /** What it counts against the bounds. */
  get cost(): number {
    return this.bytes + FRAME_OVERHEAD_BYTES;
  }

  add(record: RecordInit, nowMs: number): void {
    this.#encoder?.add(record, nowMs);
  }

  /** The frame for one stream. The header goes into the room before the records, so that nothing is copied. */
  encode(frameId: number, producer: Producer): Buffer {
    if (!this.#encoder) throw new Error('the records of the frame were released');
    const { bytes, start, end } = this.#encoder.finish();
    const { patienceMs, delivery, ack, ackTimeoutMs, ttlMs } = this.terms;
    const header = new FieldWriter()
      .number(1, frameId)
      .text(2, this.address)
      .number(3, patienceMs)
      .number(4, delivery)
      .number(5, ack)
      .number(6, ackTimeoutMs)
      .number(7, ttlMs);
    if (this.#dedupeId) header.bytes(8, this.#dedupeId);
    else if (this.repeatable) header.text(9, producer.id).number(10, producer.epoch).number(11, this.sequence);
    const view = header.view();
    view.copy(bytes, start - view.length);
    return bytes.subarray(start - view.length, end);
  }

  /** Lets go of the records: nobody will send them again. */
  release(): void {
    this.#bytes = this.bytes;
    this.#encoder = undefined;
  }
}
