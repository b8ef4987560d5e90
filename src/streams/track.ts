import type { StreamFrame } from '../wire/stream-frames.js';
import type { Job, Turns } from './turns.js';

/** One way to write frames of a stream: to a call of a node, or to a lane. */
export interface Track {
  readonly turns: Turns;
  readonly encode: (frame: StreamFrame) => Buffer;
}

/** Where a leg of a stream leads while it is there: to a node, or to another gateway. */
export interface Port {
  /** What goes with bytes towards it. */
  readonly forward: Track;
  /** Credit for bytes that come from it. */
  readonly back: Track;
  /** The stream is over; undefined: as it should be. Nothing is written after that. */
  close(error: Error | undefined): void;
}

/** Frames that `next` makes, on whichever track there is at the moment. */
export class TrackJob implements Job {
  readonly #frame: () => StreamFrame | undefined;
  #track: Track | undefined;

  constructor(frame: () => StreamFrame | undefined) {
    this.#frame = frame;
  }

  get attached(): boolean {
    return this.#track !== undefined;
  }

  move(track: Track | undefined): void {
    this.#track?.turns.remove(this);
    this.#track = track;
  }

  /** There is something to write. */
  ready(): void {
    this.#track?.turns.ready(this);
  }

  next(): Buffer | undefined {
    const frame = this.#track && this.#frame();
    return frame && this.#track?.encode(frame);
  }
}
