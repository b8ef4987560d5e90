import type { SubscriptionSpec } from '../../../gen/ts/fedgate/messaging/v1/messaging_service.js';
import { FedgateError, fieldError, quoted } from '../../errors.js';
import { type Pattern, parsePattern } from '../../messaging/address.js';

/** Where a subscription is to begin. */
export type Place =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly timeMs: number };

/** What a consumer says of the subscription that it wants. Undefined: it says nothing of that. */
export interface Wanted {
  readonly name: string;
  readonly pattern: Pattern | undefined;
  readonly from: Place;
  readonly group: boolean;
  readonly ackWaitMs: number | undefined;
  readonly maxDeliveries: number | undefined;
}

export const DEFAULT_ACK_WAIT_MS = 30_000;
export const DEFAULT_MAX_DELIVERIES = 10;
export const MAX_ACK_WAIT_MS = 86_400_000;
const MAX_MAX_DELIVERIES = 1_000;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Throws FIELD_INVALID. */
export function parseSubscriptionName(name: string, field: string): string {
  if (NAME.test(name)) return name;
  throw fieldError(field, `${quoted(name)} is not 1 to 64 of a-z 0-9 . _ -, beginning with a letter or a digit`);
}

/** Throws FIELD_INVALID, CHANNEL_RESERVED. `path` is where the spec stands in the request. */
export function parseSpec(spec: SubscriptionSpec | undefined, path: string): Wanted {
  if (!spec) throw fieldError(path, 'is missing');
  const { ackWaitMs, maxDeliveries } = spec;
  if (ackWaitMs > MAX_ACK_WAIT_MS) throw fieldError(`${path}.ack_wait_ms`, `is over ${MAX_ACK_WAIT_MS}`);
  if (maxDeliveries > MAX_MAX_DELIVERIES) throw fieldError(`${path}.max_deliveries`, `is over ${MAX_MAX_DELIVERIES}`);
  return {
    name: parseSubscriptionName(spec.name, `${path}.name`),
    pattern: spec.pattern === '' ? undefined : parsePattern(spec.pattern, `${path}.pattern`),
    from: parsePlace(spec.from, `${path}.from`) ?? { kind: 'latest' },
    group: spec.group,
    ackWaitMs: ackWaitMs || undefined,
    maxDeliveries: maxDeliveries || undefined,
  };
}

/** Throws FIELD_INVALID. Undefined: no place is given. */
export function parsePlace(position: SubscriptionSpec['from'], field: string): Place | undefined {
  const at = position?.at;
  if (!at) return undefined;
  if (at.$case === 'offset') {
    if (at.value > BigInt(Number.MAX_SAFE_INTEGER)) throw unavailable(Number(at.value), undefined);
    return { kind: 'offset', offset: Number(at.value) };
  }
  if (at.$case === 'timeMs') return { kind: 'time', timeMs: Number(at.value) };
  if (!at.value) throw fieldError(field, `${at.$case} is there and false`);
  return { kind: at.$case };
}

export const unavailable = (
  offset: number,
  log: { readonly first: number; readonly end: number } | undefined,
): FedgateError =>
  new FedgateError('POSITION_UNAVAILABLE', `offset ${offset} is not in the log`, {
    metadata: log ? { oldest: String(log.first), end: String(log.end) } : {},
  });
