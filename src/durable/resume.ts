import { newest, type StreamState } from './outbox/state.js';
import { compare, formatPosition } from './position.js';
import type { StreamPosition } from './types.js';

/** How the two ends of a stream find out where to go on. Pure: they see what both said in their hellos, and nothing else. */

/** What the sender makes of the receiver's watermark. */
export type SenderDecision =
  /** All up to `had` is on the receiver's disk, whether or not there are receipts for it. */
  | { readonly kind: 'go'; readonly had: StreamPosition | undefined; readonly peerRestored: boolean }
  /** The receiver knows a later epoch of this stream than this store does: what waits needs numbers above it. */
  | { readonly kind: 'raise'; readonly above: bigint }
  | { readonly kind: 'refuse'; readonly why: string };

/** `restored`: this side's store came from a backup, so the receiver may know more of this stream than the store does. */
export function judgeWatermark(
  state: StreamState,
  restored: boolean,
  received: StreamPosition | undefined,
  peerStoreId: Buffer,
): SenderDecision {
  const { acked, epochs } = state;
  const go = (had: StreamPosition | undefined): SenderDecision => ({ kind: 'go', had, peerRestored: false });
  if (!received || (acked && compare(received, acked) < 0)) {
    if (!acked) return go(undefined);
    if (!peerStoreId.equals(state.peerStoreId)) return { kind: 'go', had: undefined, peerRestored: true };
    const has = received ? formatPosition(received) : 'nothing';
    return { kind: 'refuse', why: `it says that it has ${has} and gave receipts up to ${formatPosition(acked)}` };
  }
  if (acked && compare(received, acked) === 0) return go(received);
  const known = epochs.find(({ epoch }) => epoch === received.epoch);
  const newestEpoch = newest(state).epoch;
  if (known) {
    // Of a closed epoch the receiver may have what was sent after the backup was made.
    if (received.sequence < known.next || known.epoch !== newestEpoch) return go(received);
  } else {
    const firstContact = !acked && state.peerStoreId.length === 0;
    if (received.epoch > newestEpoch && (restored || firstContact)) return { kind: 'raise', above: received.epoch };
    if (received.epoch < newestEpoch && restored) return go(received);
    // An earlier store of this gateway sent it. Nothing of that one is left.
    if (firstContact && epochs.every(({ epoch }) => epoch > received.epoch)) return go(undefined);
  }
  return { kind: 'refuse', why: `it says that it has ${formatPosition(received)}, which was never sent` };
}

/** What the receiver makes of the first position for which the sender has no receipt. */
export type ReceiverDecision =
  | {
      readonly kind: 'go';
      /** Batches whose receipts got lost. Undefined `last`: as far as they are known. */
      readonly resend: readonly { readonly epoch: bigint; readonly first: number; readonly last: number | undefined }[];
      /** What came before was lost with an earlier store: the watermark is to be moved here. */
      readonly skip: StreamPosition | undefined;
    }
  | { readonly kind: 'refuse'; readonly why: string };

/** `restored`: this side's store came from a backup, so the sender may have receipts that the store knows nothing of. */
export function judgeStart(
  watermark: StreamPosition | undefined,
  start: StreamPosition,
  restored: boolean,
): ReceiverDecision {
  const before = start.sequence > 1 ? { epoch: start.epoch, sequence: start.sequence - 1 } : undefined;
  if (!watermark) return { kind: 'go', resend: [], skip: before };
  if (start.epoch < watermark.epoch) {
    const older = { epoch: start.epoch, first: start.sequence, last: undefined };
    return {
      kind: 'go',
      resend: [older, { epoch: watermark.epoch, first: 1, last: watermark.sequence }],
      skip: undefined,
    };
  }
  if (before && compare(before, watermark) > 0) {
    if (restored) return { kind: 'go', resend: [], skip: before };
    const why = `it goes on at ${formatPosition(start)}, and only ${formatPosition(watermark)} came`;
    return { kind: 'refuse', why };
  }
  if (start.epoch > watermark.epoch || start.sequence > watermark.sequence)
    return { kind: 'go', resend: [], skip: undefined };
  const resend = [{ epoch: start.epoch, first: start.sequence, last: watermark.sequence }];
  return { kind: 'go', resend, skip: undefined };
}

/** Whether a batch is the next of its stream. */
export type Place = 'next' | 'again' | 'gap';

/** Epochs only rise, and each begins with 1: no window of time, and nothing else to remember. */
export function placeOf(watermark: StreamPosition | undefined, position: StreamPosition): Place {
  const { epoch, sequence } = position;
  if (watermark && compare(position, watermark) <= 0) return 'again';
  const expected = watermark?.epoch === epoch ? watermark.sequence + 1 : 1;
  return sequence === expected ? 'next' : 'gap';
}
