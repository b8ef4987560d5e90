import type { Position, SubscriptionSpec } from '../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { fieldError } from '../errors.js';
import type { DurableNotice } from './notices.js';

/** Where a durable subscription begins, or is moved to: times are dates or epoch milliseconds. */
export type From = 'earliest' | 'latest' | { readonly offset: number } | { readonly time: Date | number };

export interface DurableSubscribeOptions {
  /** The name under which the gateway keeps the position. The first who subscribes under it makes it. */
  readonly durable: string;
  /** Where it begins; counts when it is made. @default 'latest' */
  readonly from?: From | undefined;
  /** Whether several nodes may consume it at once, each record going to one of them; records with one key stay in order. @default false */
  readonly group?: boolean | undefined;
  /** How long a record may be unacknowledged before it is delivered again, milliseconds. @default 30000 */
  readonly ackWaitMs?: number | undefined;
  /** After how many deliveries a record becomes a dead letter. @default 10 */
  readonly maxDeliveries?: number | undefined;
  /** How many records may be delivered and neither acknowledged nor given back. @default 10000 */
  readonly credit?: number | undefined;
  /**
   * How many records are delivered in all, at most, those that come again included. For a program that takes a few and ends: what is delivered beyond those is
   * delivered in vain, and counts towards `maxDeliveries`. @default any number
   */
  readonly limit?: number | undefined;
  /** Ends the subscription; the iteration then ends without an error. */
  readonly signal?: AbortSignal | undefined;
  /** Hears, at its place among the records, of what is missing. */
  readonly onNotice?: (notice: DurableNotice) => void;
}

const DEFAULT_CREDIT = 10_000;
/** The bound of the contract. */
const MAX_CREDIT = 1_000_000;

/** Throws FIELD_INVALID for what cannot be put into a frame; the gateway judges the rest. */
export function toSpec(pattern: string, options: DurableSubscribeOptions): SubscriptionSpec {
  const { durable, from, group = false, ackWaitMs = 0, maxDeliveries = 0 } = options;
  checkWhole('ackWaitMs', ackWaitMs, 0, 0xffffffff);
  checkWhole('maxDeliveries', maxDeliveries, 0, 0xffffffff);
  return { name: durable, pattern, from: from && toPosition(from), group, ackWaitMs, maxDeliveries };
}

/** Throws FIELD_INVALID. */
export function creditOf({ credit = DEFAULT_CREDIT }: DurableSubscribeOptions): number {
  checkWhole('credit', credit, 1, MAX_CREDIT);
  return credit;
}

/** Throws FIELD_INVALID. */
export function limitOf({ limit = Number.POSITIVE_INFINITY }: DurableSubscribeOptions): number {
  if (limit !== Number.POSITIVE_INFINITY) checkWhole('limit', limit, 1, Number.MAX_SAFE_INTEGER);
  return limit;
}

/** Throws FIELD_INVALID. */
export function toPosition(from: From): Position {
  if (from === 'earliest') return { at: { $case: 'earliest', value: true } };
  if (from === 'latest') return { at: { $case: 'latest', value: true } };
  if (typeof from === 'object' && 'offset' in from) {
    checkWhole('from.offset', from.offset, 0, Number.MAX_SAFE_INTEGER);
    return { at: { $case: 'offset', value: BigInt(from.offset) } };
  }
  if (typeof from === 'object' && 'time' in from) {
    const timeMs = Number(from.time);
    checkWhole('from.time', timeMs, 0, Number.MAX_SAFE_INTEGER);
    return { at: { $case: 'timeMs', value: BigInt(timeMs) } };
  }
  throw fieldError('from', 'must be earliest, latest, { offset } or { time }');
}

function checkWhole(field: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw fieldError(field, `must be a whole number from ${least} to ${most}`);
}
