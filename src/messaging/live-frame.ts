import { encodeDelivery, type Origin } from '../wire/messaging-frames.js';
import type { RecordBlock } from '../wire/records.js';

/** A SubscribeResponse, encoded once and given to all subscriptions as it is. */
export interface LiveFrame {
  readonly bytes: Buffer;
  /** Bytes before the records; 0: it carries none, and is joined with nothing. */
  readonly header: number;
  readonly records: number;
}

export function liveFrame(origin: Origin, records: RecordBlock): LiveFrame {
  const bytes = encodeDelivery(origin, records);
  return { bytes, header: bytes.length - records.bytes.length, records: records.count };
}

/** Small frames of a subscription whose stream is busy are joined into frames of at most so many bytes. */
export const JOINED_BYTES = 32 * 1024;
/** Joined frames that are kept for the next subscription that wants the same. */
const KEPT_JOINS = 16;

/** Whether the records of both are of one channel and sender, so that one frame can carry them. */
export const joinable = (one: LiveFrame, other: LiveFrame): boolean =>
  one.header > 0 && one.header === other.header && one.bytes.compare(other.bytes, 0, other.header, 0, one.header) === 0;

interface Join {
  readonly frames: readonly LiveFrame[];
  readonly bytes: Buffer;
}

/**
 * Joins frames. Where many subscriptions are behind, most want the same frames joined: the last ones are kept, by their first frame.
 */
export class FrameJoins {
  readonly #kept = new Map<LiveFrame, Join>();

  /** The bytes of one frame with the records of all. Each is `joinable` with the first. */
  join(frames: readonly LiveFrame[]): Buffer {
    const [first] = frames;
    if (!first) return Buffer.alloc(0);
    if (frames.length === 1) return first.bytes;
    const kept = this.#kept.get(first);
    if (kept && same(kept.frames, frames)) return kept.bytes;
    const bytes = Buffer.concat([first.bytes, ...frames.slice(1).map(each => each.bytes.subarray(each.header))]);
    this.#keep(first, { frames, bytes });
    return bytes;
  }

  #keep(first: LiveFrame, join: Join): void {
    this.#kept.delete(first);
    this.#kept.set(first, join);
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= KEPT_JOINS) return;
      this.#kept.delete(oldest);
    }
  }
}

const same = (one: readonly LiveFrame[], other: readonly LiveFrame[]): boolean =>
  one.length === other.length && one.every((frame, i) => frame === other[i]);
