import { EventEmitter } from 'node:events';
import { FedgateError } from '../../src/errors.js';
import { Lane, type LaneCall } from '../../src/link/lane.js';

/** One end of a call that goes nowhere but to its other end. What is written waits until it is delivered. */
class CallEnd extends EventEmitter implements LaneCall {
  readonly sent: Buffer[] = [];
  paused = false;
  full = false;
  tap: (frame: Buffer) => void = () => undefined;

  write(frame: Buffer): boolean {
    this.sent.push(frame);
    this.tap(frame);
    this.emit('moved');
    return !this.full;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.emit('moved');
  }
}

/** Two lanes with a wire between them that can be slow, and cut. */
export class LanePair {
  readonly a: Lane;
  readonly b: Lane;
  readonly #a = new CallEnd();
  readonly #b = new CallEnd();
  #automatic = false;

  constructor() {
    this.a = new Lane(this.#a);
    this.b = new Lane(this.#b);
  }

  /** Delivers at most so many frames of one side. Returns how many it were. */
  deliver(from: 'a' | 'b', most = Number.POSITIVE_INFINITY): number {
    const [sender, receiver] = from === 'a' ? [this.#a, this.#b] : [this.#b, this.#a];
    let count = 0;
    for (; count < most && sender.sent.length > 0 && !receiver.paused; count++) {
      receiver.emit('data', sender.sent.shift());
    }
    return count;
  }

  /** Frames that were written and not delivered. */
  waiting(from: 'a' | 'b'): readonly Buffer[] {
    return from === 'a' ? this.#a.sent : this.#b.sent;
  }

  /** What is written arrives by itself from now on, in the next turn of the loop. */
  automatic(): this {
    if (this.#automatic) return this;
    this.#automatic = true;
    let scheduled = false;
    const turn = (): void => {
      scheduled = false;
      this.deliver('a');
      this.deliver('b');
    };
    const schedule = (): void => {
      if (scheduled) return;
      scheduled = true;
      setImmediate(turn);
    };
    this.#a.on('moved', schedule);
    this.#b.on('moved', schedule);
    schedule();
    return this;
  }

  /** Says to one side that the wire takes no more, or that it does again. */
  block(side: 'a' | 'b', full: boolean): void {
    const end = side === 'a' ? this.#a : this.#b;
    end.full = full;
    if (!full) end.emit('drain');
  }

  /** Sees every frame that one side writes. */
  tap(from: 'a' | 'b', see: (frame: Buffer) => void): void {
    (from === 'a' ? this.#a : this.#b).tap = see;
  }

  /** Ends both sides; what was on its way is lost. */
  cut(): void {
    this.#a.sent.length = 0;
    this.#b.sent.length = 0;
    const reason = new FedgateError('PEER_UNREACHABLE', 'the wire was cut');
    this.a.close(reason);
    this.b.close(reason);
  }
}
