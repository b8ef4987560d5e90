import { FedgateError } from '../errors.js';
import { ByteQueue } from '../wire/byte-queue.js';
import {
  MAX_STREAM_DATA_BYTES,
  type StreamCredit,
  type StreamData,
  type StreamEnd,
  type StreamFrame,
  type StreamFrom,
} from '../wire/stream-frames.js';
import { MAX_WINDOW_BYTES, unexpected } from './terms.js';
import { TrackJob } from './track.js';

/**
 * One direction of a stream at one gateway: bytes come from the leg at its beginning and go to the leg at its end; credit goes the other way.
 *
 *     broken ──credit with a round passes──▶ awaiting ──from with that round passes──▶ flowing ──end passes──▶ ended, acknowledged
 *        ▲───────────────── a leg breaks, or `ask` passes ──────────────────────────────┘
 *
 * While it is broken or awaiting, bytes are thrown away: the end that sends keeps them until the end that receives has said that it has
 * them, and sends them again. So every place on the way agrees on where the bytes go on, whatever was lost where.
 */
export class Direction {
  /** What goes to the end: at most one of each waits, and bytes within the credit. */
  readonly forward = new TrackJob(() => this.#nextForward());
  /** What goes to the beginning: the newest credit. */
  readonly back = new TrackJob(() => this.#nextBack());
  readonly #room: () => number;
  readonly #onDone: () => void;
  #state: 'broken' | 'awaiting' | 'flowing' = 'broken';
  /** Bytes that came, and that were passed on, in all. */
  #expected = 0;
  #passed = 0;
  #furthest = 0;
  /** What the end that receives has granted, and what of it the beginning was told. */
  #granted = 0;
  #told = 0;
  #received = 0;
  #round = 0;
  #endAt: number | undefined;
  #endPassed = false;
  /** How many bytes there are in all, once the end of them was passed on; a break does not change it. */
  #finalAt: number | undefined;
  #done = false;
  readonly #queue = new ByteQueue();
  #askDue = false;
  #fromDue: StreamFrom | undefined;
  #creditDue = false;
  #roundDue = false;

  /**
   * `room`: how many bytes may wait here for the leg at the end. `onDone`: the end has received all, and the beginning was told.
   */
  constructor(room: () => number, onDone: () => void) {
    this.#room = room;
    this.#onDone = onDone;
  }

  /** Bytes that went through, each counted once. */
  get bytes(): number {
    return this.#furthest;
  }

  get queuedBytes(): number {
    return this.#queue.length;
  }

  /** Whether all of it was received, and both ends know or are told. */
  get done(): boolean {
    return this.#done;
  }

  /** Whether the beginning was told all there is. */
  get told(): boolean {
    return this.#done && !this.#creditDue;
  }

  /** A leg broke, or another one is to be used: what was on its way is lost. */
  lose(): void {
    this.#state = 'broken';
    this.#queue.clear();
    this.#fromDue = undefined;
    this.#askDue = false;
    this.#endAt = undefined;
    this.#endPassed = false;
  }

  /** Has the end that receives say where it is. */
  ask(): void {
    if (this.#done) {
      // The end that receives has told all it had to tell, and may be gone: the beginning hears it from here.
      this.#roundDue = true;
      this.#creditDue = true;
      this.#round++;
      this.back.ready();
      return;
    }
    this.lose();
    this.#askDue = true;
    this.forward.ready();
  }

  /** Throws what breaks the rules: FRAME_UNEXPECTED, CREDIT_EXCEEDED. */
  data({ offset, data }: StreamData): void {
    if (this.#state !== 'flowing') return;
    if (this.#endAt !== undefined) throw unexpected('bytes came after the end of the bytes');
    if (offset !== this.#expected) throw unexpected(`bytes came from ${offset} on, and ${this.#expected} is the next`);
    const end = offset + data.length;
    if (end > this.#told)
      throw new FedgateError('CREDIT_EXCEEDED', `byte ${end} was sent, and ${this.#told} bytes were allowed`);
    this.#expected = end;
    this.#queue.push(data);
    this.forward.ready();
  }

  /** Throws FRAME_UNEXPECTED. */
  end({ offset }: StreamEnd): void {
    if (this.#state !== 'flowing') return;
    if (this.#endAt !== undefined) throw unexpected('the bytes ended twice');
    if (offset !== this.#expected) throw unexpected(`the bytes end at ${offset}, and ${this.#expected} came`);
    this.#endAt = offset;
    this.forward.ready();
  }

  /** Throws FRAME_UNEXPECTED. One that answers an older round is too late, and ignored. */
  from(frame: StreamFrom): void {
    if (this.#state !== 'awaiting' || frame.round !== this.#round) return;
    if (frame.offset !== this.#received)
      throw unexpected(`the bytes go on from ${frame.offset}, and ${this.#received} were received`);
    this.#state = 'flowing';
    this.#expected = frame.offset;
    this.#passed = frame.offset;
    this.#fromDue = frame;
    this.forward.ready();
  }

  /** Throws FRAME_UNEXPECTED for what cannot be. */
  credit(frame: StreamCredit): void {
    if (this.#done || (this.#state === 'broken' && frame.round === 0)) return;
    const { limit, received, ended, round } = frame;
    if (received < this.#received || received > this.#furthest || limit < received)
      throw unexpected(`${received} bytes are said to be received of ${this.#furthest} that were sent`);
    if (limit > received + MAX_WINDOW_BYTES) throw unexpected(`credit of more than ${MAX_WINDOW_BYTES} bytes`);
    if (round > 0) this.#begin(round, received);
    this.#received = received;
    this.#granted = Math.max(this.#granted, limit);
    if (ended) this.#acknowledged(received);
    this.#offer();
  }

  #begin(round: number, received: number): void {
    if (round <= this.#round) throw unexpected(`round ${round} does not follow ${this.#round}`);
    this.lose();
    this.#state = 'awaiting';
    this.#round = round;
    this.#roundDue = true;
    this.#creditDue = true;
    this.#passed = received;
  }

  #acknowledged(received: number): void {
    if (this.#finalAt !== received) throw unexpected('the end of the bytes is acknowledged, and did not come');
    this.#done = true;
    this.#creditDue = true;
  }

  /** Tells the beginning how much it may send now, when that is worth a frame. */
  #offer(): void {
    const limit = this.#limit();
    const more = limit - this.#told;
    if (more <= 0 && !this.#creditDue) return;
    if (this.#creditDue || limit === this.#granted || more >= this.#room() / 4) {
      this.#creditDue = true;
      this.back.ready();
    }
  }

  #limit(): number {
    return Math.max(this.#told, Math.min(this.#granted, this.#passed + this.#room()));
  }

  #nextForward(): StreamFrame | undefined {
    if (this.#askDue) {
      this.#askDue = false;
      return { kind: 'ask' };
    }
    const from = this.#fromDue;
    if (from) {
      this.#fromDue = undefined;
      return from;
    }
    const data = this.#queue.shift(MAX_STREAM_DATA_BYTES);
    if (data) {
      const offset = this.#passed;
      this.#passed += data.length;
      this.#furthest = Math.max(this.#furthest, this.#passed);
      this.#offer();
      return { kind: 'data', offset, data };
    }
    if (this.#endAt === undefined || this.#endPassed) return undefined;
    this.#endPassed = true;
    this.#finalAt = this.#endAt;
    return { kind: 'end', offset: this.#endAt };
  }

  #nextBack(): StreamFrame | undefined {
    if (!this.#creditDue) return undefined;
    this.#creditDue = false;
    const round = this.#roundDue ? this.#round : 0;
    this.#roundDue = false;
    this.#told = this.#limit();
    // The frame is written when this returns.
    if (this.#done) queueMicrotask(this.#onDone);
    return { kind: 'credit', limit: this.#told, received: this.#received, ended: this.#done, round };
  }
}
