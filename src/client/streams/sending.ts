import { FedgateError } from '../../errors.js';
import type { StreamCredit, StreamFrame } from '../../wire/stream-frames.js';

/** Where frames are written to: as FrameWriter. */
export interface StreamOut {
  readonly writable: boolean;
  put(frame: StreamFrame): void;
}

/** Bytes that were sent and not acknowledged. */
interface Kept {
  readonly offset: number;
  readonly data: Buffer;
}

interface Pending {
  data: Buffer;
  readonly taken: () => void;
}

/** How many bytes one frame holds when we make it. */
export const FRAME_BYTES = 64 * 1024;

/**
 * The bytes that one end sends. It keeps what the other end has not said it has, which is at most as much as the other end has given credit for,
 * and sends it again from where the other end stands whenever that says so.
 */
export class Sending {
  #out: StreamOut | undefined;
  #kept: Kept[] = [];
  /** How many of `kept` were sent since the other end last said where it stands. */
  #resent = 0;
  /** Bytes that were taken from the writer in all. */
  #sent = 0;
  #limit = 0;
  #received = 0;
  /** Whether the other end has said where it stands, on what is attached now. */
  #flowing = false;
  #pending: Pending | undefined;
  #ending: (() => void) | undefined;
  #endSent = false;
  #done = false;

  /** Bytes that the other end has. */
  get received(): number {
    return this.#received;
  }

  /** Bytes that are kept: sent, and not acknowledged. */
  get keptBytes(): number {
    return this.#sent - this.#received;
  }

  /** Whether the other end has all, and knows that it is all. */
  get done(): boolean {
    return this.#done;
  }

  /** What frames are written to; undefined: nothing at the moment. Nothing is sent before the other end has said where it stands. */
  attach(out: StreamOut | undefined): void {
    this.#out = out;
    this.#flowing = false;
  }

  /** `taken` is called once all of it was sent, which takes credit. One write at a time. */
  write(data: Buffer, taken: () => void): void {
    this.#pending = { data, taken };
    this.pump();
  }

  /** There is nothing more. `done` is called when the other end has all. */
  end(done: () => void): void {
    this.#ending = done;
    this.pump();
  }

  /** The gateway says that the other end has all. False: that cannot be. */
  finish(): boolean {
    if (this.#done) return true;
    if (!this.#ending || this.#pending) return false;
    this.#done = true;
    this.#received = this.#sent;
    this.#kept = [];
    this.#ending();
    return true;
  }

  /** Throws FRAME_UNEXPECTED. */
  credit({ limit, received, ended, round }: StreamCredit): void {
    if (this.#done) return;
    if (received < this.#received || received > this.#sent)
      throw new FedgateError('FRAME_UNEXPECTED', `${received} bytes are said to be received of ${this.#sent}`);
    this.#limit = Math.max(this.#limit, limit);
    this.#forget(received);
    if (ended) {
      if (!this.#ending || received !== this.#sent)
        throw new FedgateError('FRAME_UNEXPECTED', 'the end is acknowledged, and was not sent');
      this.#done = true;
      return this.#ending();
    }
    if (round > 0) {
      this.#flowing = true;
      this.#resent = 0;
      this.#endSent = false;
      this.#out?.put({ kind: 'from', round, offset: received });
    }
    this.pump();
  }

  /** Sends what may be sent. */
  pump(): void {
    const out = this.#out;
    while (out?.writable && this.#flowing) {
      const kept = this.#kept[this.#resent] ?? this.#next();
      if (kept) {
        this.#resent++;
        out.put({ kind: 'data', ...kept });
      } else if (this.#ending && !this.#pending && !this.#endSent) {
        this.#endSent = true;
        out.put({ kind: 'end', offset: this.#sent });
      } else return;
    }
  }

  /** The next bytes of the writer, as far as there is credit. They are copied: whoever wrote them may use the buffer again. */
  #next(): Kept | undefined {
    const pending = this.#pending;
    const length = Math.min(pending?.data.length ?? 0, this.#limit - this.#sent, FRAME_BYTES);
    if (!pending || length <= 0) return undefined;
    const kept = { offset: this.#sent, data: Buffer.from(pending.data.subarray(0, length)) };
    this.#kept.push(kept);
    this.#sent += length;
    pending.data = pending.data.subarray(length);
    if (pending.data.length === 0) {
      this.#pending = undefined;
      queueMicrotask(pending.taken);
    }
    return kept;
  }

  #forget(received: number): void {
    this.#received = received;
    let gone = 0;
    for (const { offset, data } of this.#kept) {
      if (offset + data.length > received) break;
      gone++;
    }
    this.#kept.splice(0, gone);
    this.#resent = Math.max(0, this.#resent - gone);
    const [first] = this.#kept;
    if (first && first.offset < received)
      this.#kept[0] = { offset: received, data: first.data.subarray(received - first.offset) };
  }
}
