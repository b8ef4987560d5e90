import { FedgateError } from '../../errors.js';
import { ByteQueue } from '../../wire/byte-queue.js';
import type { StreamData, StreamEnd, StreamFrom } from '../../wire/stream-frames.js';
import type { StreamOut } from './sending.js';

export interface Reader {
  /** Takes bytes; false: no more for now. */
  take(data: Buffer): boolean;
  /** There are no more. */
  ended(): void;
}

const LARGEST = Number.MAX_SAFE_INTEGER;

/**
 * The bytes that one end receives. It gives credit for what its reader has taken and a window more, so that whoever sends stands still once so much
 * waits here.
 */
export class Receiving {
  readonly #window: number;
  readonly #reader: Reader;
  readonly #queue = new ByteQueue();
  #out: StreamOut | undefined;
  #expected = 0;
  #consumed = 0;
  #limit = 0;
  #round = 0;
  /** Bytes that come are thrown away until the other end has said that they go on from where we stand. */
  #awaiting = true;
  #wanted = false;
  #ended = false;
  #told = false;
  #creditDue = false;
  #roundDue = false;

  /** `window`: bytes that may wait for the reader. */
  constructor(window: number, reader: Reader) {
    this.#window = window;
    this.#reader = reader;
  }

  /** Bytes that came, in all. */
  get received(): number {
    return this.#expected;
  }

  /** Whether all came, and the other end was told so. */
  get done(): boolean {
    return this.#ended && this.#told;
  }

  /** Whether all came. */
  get complete(): boolean {
    return this.#ended;
  }

  /** What credit is written to; undefined: nothing at the moment. */
  attach(out: StreamOut | undefined): void {
    this.#out = out;
    this.#awaiting = true;
    this.#creditDue = false;
    this.#roundDue = false;
  }

  /** Says where we stand. */
  ask(): void {
    this.#round++;
    this.#awaiting = true;
    this.#roundDue = true;
    this.#creditDue = true;
    this.pump();
  }

  from({ round, offset }: StreamFrom): void {
    if (!this.#awaiting || round !== this.#round) return;
    if (offset !== this.#expected)
      throw new FedgateError('FRAME_UNEXPECTED', `the bytes go on from ${offset}, and ${this.#expected} came`);
    this.#awaiting = false;
  }

  /** Throws FRAME_UNEXPECTED, CREDIT_EXCEEDED. */
  data({ offset, data }: StreamData): void {
    if (this.#awaiting || this.#ended) return;
    if (offset !== this.#expected)
      throw new FedgateError('FRAME_UNEXPECTED', `bytes came from ${offset} on, and ${this.#expected} is the next`);
    this.#expected += data.length;
    if (this.#expected > this.#limit)
      throw new FedgateError('CREDIT_EXCEEDED', `byte ${this.#expected} came, and ${this.#limit} were allowed`);
    if (this.#wanted && this.#queue.length === 0) this.#give(data);
    else this.#queue.push(data);
    this.pump();
  }

  /** Throws FRAME_UNEXPECTED. */
  end({ offset }: StreamEnd): void {
    if (this.#awaiting || this.#ended) return;
    if (offset !== this.#expected)
      throw new FedgateError('FRAME_UNEXPECTED', `the bytes end at ${offset}, and ${this.#expected} came`);
    this.#ended = true;
    this.#creditDue = true;
    this.pump();
    if (this.#queue.length === 0) this.#reader.ended();
  }

  /** The reader takes more. */
  read(): void {
    this.#wanted = true;
    const had = this.#queue.length > 0;
    while (this.#wanted && this.#queue.length > 0) this.#give(this.#queue.shift(LARGEST) as Buffer);
    if (had && this.#ended && this.#queue.length === 0) this.#reader.ended();
    this.pump();
  }

  /** Writes the credit that is due. */
  pump(): void {
    const limit = Math.max(this.#limit, this.#consumed + this.#window);
    if (!this.#ended && limit - this.#limit >= this.#window / 4) this.#creditDue = true;
    const out = this.#out;
    if (!this.#creditDue || !out?.writable || (this.#round === 0 && !this.#roundDue)) return;
    this.#creditDue = false;
    this.#limit = limit;
    const round = this.#roundDue ? this.#round : 0;
    this.#roundDue = false;
    if (this.#ended) this.#told = true;
    out.put({ kind: 'credit', limit, received: this.#expected, ended: this.#ended, round });
  }

  #give(data: Buffer): void {
    this.#consumed += data.length;
    this.#wanted = this.#reader.take(data);
  }
}
