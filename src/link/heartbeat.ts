import { FedgateError } from '../errors.js';
import type { IncomingFrame, Lane } from './lane.js';

export interface HeartbeatOptions {
  /** How often to ask, milliseconds. */
  readonly intervalMs: number;
  /** After how long without any frame on any lane the peer counts as dead, milliseconds. */
  readonly deadAfterMs: number;
}

/** Asks on the control lane whether the peer is there, and measures the round trip. Any frame on any lane counts as a sign of life. */
export class Heartbeat {
  readonly #control: Lane;
  readonly #lanes: readonly Lane[];
  readonly #options: HeartbeatOptions;
  readonly #timer: NodeJS.Timeout;
  #nonce = 0n;
  #askedMs = 0;
  roundTripMs: number | undefined;

  constructor(control: Lane, lanes: readonly Lane[], options: HeartbeatOptions) {
    this.#control = control;
    this.#lanes = lanes;
    this.#options = options;
    this.#timer = setInterval(() => this.#beat(), options.intervalMs);
    this.#ask();
  }

  take(frame: Extract<IncomingFrame, { $case: 'ping' | 'pong' }>): void {
    // A peer that asks without reading the answers gets none.
    if (frame.$case === 'ping') {
      if (this.#control.out.writable) this.#control.put({ $case: 'pong', value: frame.value });
    } else if (frame.value.nonce === this.#nonce) {
      this.roundTripMs = performance.now() - this.#askedMs;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    const silentMs = performance.now() - Math.max(...this.#lanes.map(lane => lane.lastHeardMs));
    if (silentMs > this.#options.deadAfterMs) {
      this.#control.close(new FedgateError('PEER_UNREACHABLE', `no sign of life for ${Math.round(silentMs / 1000)} s`));
    } else {
      this.#ask();
    }
  }

  #ask(): void {
    if (!this.#control.out.writable) return;
    this.#nonce++;
    this.#askedMs = performance.now();
    this.#control.put({ $case: 'ping', value: { nonce: this.#nonce } });
  }
}
