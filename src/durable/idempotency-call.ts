import type { Change, Store } from '../store/store.js';
import type { Idempotency, StreamPosition } from './types.js';

/** A call that can be repeated: the same idempotency of the same node for the same address is the same call. */
export interface RepeatableCall {
  readonly node: string;
  readonly address: string;
  readonly idempotency: Idempotency;
}

/**
 * A call that is new, and now taken. Its owner either records it in the change that stores the records and then says `committed` or
 * `failed`, or says `failed` at once. Repetitions that come meanwhile wait for that word.
 */
export interface Claim {
  /** Set when an earlier call of the same producer was not stored: this one must not be either, and `failed` is to be said with it. */
  readonly lost: unknown;
  /** Calls of one producer are recorded in the order in which they were judged. */
  record(change: Change, position: StreamPosition): void;
  committed(): void;
  failed(error: unknown): void;
}

/** New (with a claim unless the call cannot be repeated), or known: where its records are, once they are on stable storage. */
export type Judgement =
  | { readonly kind: 'new'; readonly claim: Claim | undefined }
  | { readonly kind: 'known'; readonly position: Promise<StreamPosition> };

/** A call that is about to be judged. Exactly one of `judge` and `release` is called, and that once `ready` is over. */
export interface HeldCall {
  /** Undefined: nothing has to be read from the disk. */
  readonly ready: Promise<void> | undefined;
  /** Throws SEQUENCE_GAP, PRODUCER_FENCED. */
  judge(): Judgement;
  /** What had to be read could not be. */
  release(): void;
}

/** An id counts for 7 days, and among the last million of its node: two rows of ~100 bytes each. */
export const DEDUPE_KEEP_MS = 7 * 24 * 3600_000;
export const MAX_DEDUPE_IDS = 1_000_000;
/** Producers remembered per node, those used last: ~500 bytes each. One that is forgotten and goes on hears SEQUENCE_GAP. */
export const MAX_PRODUCERS = 100_000;

export interface IdempotencyOptions {
  readonly store: Store;
  /** Whose calls these are: `outbox`, `log`. Each has its own rows. */
  readonly scope: string;
  readonly now: () => number;
  /** @default MAX_DEDUPE_IDS */
  readonly maxIds?: number;
  /** @default MAX_PRODUCERS */
  readonly maxProducers?: number;
}
