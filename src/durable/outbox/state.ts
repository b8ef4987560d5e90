import { compare } from '../position.js';
import type { StreamPosition } from '../types.js';

/** One epoch of a stream. `next`: the sequence that its next batch gets; all but the newest epoch are closed, and it then only says where it ends. */
export interface EpochState {
  readonly epoch: bigint;
  readonly next: number;
}

/** Where a stream stands. Never changed in place: what is committed and what is under way are two of these. */
export interface StreamState {
  /** Those with batches that wait, and the newest, oldest first. Never empty. */
  readonly epochs: readonly EpochState[];
  /** The store in which the newest epoch began. */
  readonly storeId: Buffer;
  /** The last position with a receipt. */
  readonly acked: StreamPosition | undefined;
  /** Batches without a receipt, their records, and the bytes of these. */
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  /** Bytes of records that have a receipt and are kept. */
  readonly keptBytes: number;
  readonly paused: boolean;
  /** Empty: it never said hello. */
  readonly peerStoreId: Buffer;
}

/** A number that is higher than any that was drawn before, also by a store that was lost: unless the clock went back, which `above` mends. */
export const drawEpoch = (nowMs: number, random20: number, above = 0n): bigint => {
  const drawn = BigInt(nowMs) * 2n ** 20n + BigInt(random20);
  return drawn > above ? drawn : above + 1n;
};

export const newState = (epoch: bigint, storeId: Buffer): StreamState => ({
  epochs: [{ epoch, next: 1 }],
  storeId,
  acked: undefined,
  batches: 0,
  records: 0,
  bytes: 0,
  keptBytes: 0,
  paused: false,
  peerStoreId: Buffer.alloc(0),
});

export function newest({ epochs }: StreamState): EpochState {
  const last = epochs.at(-1);
  if (!last) throw new RangeError('a stream without an epoch');
  return last;
}

/** The first position at or after `position` that has a batch, or the one that the next batch gets. */
export function following(state: StreamState, position: StreamPosition): StreamPosition {
  const last = newest(state);
  for (const { epoch, next } of state.epochs) {
    if (epoch < position.epoch) continue;
    const sequence = epoch === position.epoch ? position.sequence : 1;
    if (sequence < next || epoch === last.epoch) return { epoch, sequence };
  }
  return { epoch: last.epoch, sequence: last.next };
}

export const after = ({ epoch, sequence }: StreamPosition): StreamPosition => ({ epoch, sequence: sequence + 1 });

/** The first position without a receipt. */
export const unreceipted = (state: StreamState): StreamPosition =>
  following(state, state.acked ? after(state.acked) : { epoch: 0n, sequence: 1 });

/** Whether a batch stands there. */
export const exists = (state: StreamState, { epoch, sequence }: StreamPosition): boolean =>
  state.epochs.some(known => known.epoch === epoch && sequence >= 1 && sequence < known.next);

/** Adds batches to the newest epoch. */
export function appended(state: StreamState, batches: number, records: number, bytes: number): StreamState {
  const last = newest(state);
  return {
    ...state,
    epochs: [...state.epochs.slice(0, -1), { epoch: last.epoch, next: last.next + batches }],
    batches: state.batches + batches,
    records: state.records + records,
    bytes: state.bytes + bytes,
  };
}

/** What no longer waits. */
export interface Gone {
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
}

/** Moves the receipts up to `acked`. Epochs that are through are forgotten. */
export function receipted(state: StreamState, acked: StreamPosition, gone: Gone): StreamState {
  const last = newest(state);
  return {
    ...state,
    acked,
    epochs: state.epochs.filter(
      ({ epoch, next }) =>
        epoch === last.epoch || epoch > acked.epoch || (epoch === acked.epoch && acked.sequence < next - 1),
    ),
    batches: state.batches - gone.batches,
    // What damaged rows held is not known: it counts until nothing waits.
    records: state.batches === gone.batches ? 0 : state.records - gone.records,
    bytes: state.batches === gone.batches ? 0 : state.bytes - gone.bytes,
    keptBytes: state.keptBytes + gone.bytes,
  };
}

/** Closes the newest epoch and begins another; one without a batch that waits is forgotten. */
export function beginEpoch(state: StreamState, epoch: bigint, storeId: Buffer): StreamState {
  const waits = ({ epoch: old, next }: EpochState): boolean =>
    next > 1 && (!state.acked || compare(state.acked, { epoch: old, sequence: next - 1 }) < 0);
  return { ...state, epochs: [...state.epochs.filter(waits), { epoch, next: 1 }], storeId };
}
