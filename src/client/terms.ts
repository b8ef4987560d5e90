import { type FedgateError, fieldError } from '../errors.js';

export interface PublishOptions {
  /**
   * `durable`: stored, and sent until it arrives. `live`: handed to whoever is there now, not stored.
   * @default durable to another organisation; in the own one live, and stored when a durable subscription wants it
   */
  readonly delivery?: 'live' | 'durable' | undefined;
  /** Durable: on whose stable storage it must be before the answer, or that a durable subscription acknowledged it. @default 'stored' */
  readonly ack?: AckLevel | undefined;
  /** Durable: how long to wait for that, milliseconds; then ACK_TIMEOUT. @default 30000 */
  readonly ackTimeoutMs?: number | undefined;
  /** Durable: how long the record is of use, milliseconds. @default for ever */
  readonly ttlMs?: number | undefined;
  /** How long gateways may hold the answer while a live subscriber's queue is full, milliseconds. @default 0 */
  readonly patienceMs?: number | undefined;
  /** Durable: a record with the same `id` to the same address within 7 days is answered as a duplicate, whoever of this node sends it. */
  readonly dedupe?: boolean | undefined;
}

/** What must have happened to a durable record before the answer. Each includes those before it. */
export type AckLevel = 'stored' | 'received' | 'consumed';

/** How a frame is published: records on different terms cannot share one. Delivery and ack are the numbers of the contract. */
export interface Terms {
  readonly delivery: number;
  readonly ack: number;
  readonly ackTimeoutMs: number;
  readonly ttlMs: number;
  readonly patienceMs: number;
  readonly dedupe: boolean;
}

const DELIVERY = { live: 1, durable: 2 } as const;
const ACK = { stored: 1, received: 2, consumed: 3 } as const;
/** The levels by the numbers of the contract; 0: published live. */
export const LEVELS: readonly (AckLevel | undefined)[] = [undefined, 'stored', 'received', 'consumed'];

const DEFAULT: Terms = { delivery: 0, ack: 0, ackTimeoutMs: 0, ttlMs: 0, patienceMs: 0, dedupe: false };
const MAX_UINT32 = 0xffffffff;

export const isLive = ({ delivery }: Terms): boolean => delivery === DELIVERY.live;

export function termsOf(options: PublishOptions | undefined): Terms {
  if (!options) return DEFAULT;
  const { delivery, ack, ackTimeoutMs = 0, ttlMs = 0, patienceMs = 0, dedupe = false } = options;
  // A word that is none of ours becomes NaN, which `checkTerms` refuses.
  return {
    delivery: delivery === undefined ? 0 : (DELIVERY[delivery] ?? Number.NaN),
    ack: ack === undefined ? 0 : (ACK[ack] ?? Number.NaN),
    ackTimeoutMs,
    ttlMs,
    patienceMs,
    dedupe,
  };
}

export function sameTerms(a: Terms, b: Terms): boolean {
  if (a === b) return true;
  return (
    a.delivery === b.delivery &&
    a.ack === b.ack &&
    a.ackTimeoutMs === b.ackTimeoutMs &&
    a.ttlMs === b.ttlMs &&
    a.patienceMs === b.patienceMs &&
    a.dedupe === b.dedupe
  );
}

/** What cannot be put into a frame, or contradicts itself; the gateway judges the rest. */
export function checkTerms(terms: Terms): FedgateError | undefined {
  const { delivery, ack, ackTimeoutMs, ttlMs, patienceMs, dedupe } = terms;
  if (Number.isNaN(delivery)) return fieldError('delivery', 'must be live or durable');
  if (Number.isNaN(ack)) return fieldError('ack', 'must be stored, received or consumed');
  const milliseconds = { ackTimeoutMs, patienceMs, ttlMs };
  for (const [field, value] of Object.entries(milliseconds)) {
    const most = field === 'ttlMs' ? Number.MAX_SAFE_INTEGER : MAX_UINT32;
    if (!Number.isInteger(value) || value < 0 || value > most)
      return fieldError(field, 'must be a whole number of milliseconds from 0');
  }
  if (isLive(terms) && (ack || ackTimeoutMs || ttlMs || dedupe))
    return fieldError('delivery', 'live has no ack, ackTimeoutMs, ttlMs or dedupe: nothing is stored');
  return undefined;
}
