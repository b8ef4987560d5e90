import type { BackoffOptions } from '../backoff.js';

/** How the dialling of a peer that does not answer slows down. */
export const LINK_BACKOFF: BackoffOptions = { firstMs: 200, maxMs: 30_000, factor: 1.7, random: Math.random };

/** The longest wait between two dials of a peer that something durable waits for: it is to flow within 3 s of its return. */
export const URGENT_WAIT_MS = 2_000;

/** How long to wait before the next dial: as the back-off says, never shorter than the peer asked for, and not long when it is urgent. */
export const dialWaitMs = (backoffMs: number, atLeastMs: number, urgent: boolean): number =>
  Math.max(atLeastMs, urgent ? Math.min(backoffMs, URGENT_WAIT_MS) : backoffMs);
