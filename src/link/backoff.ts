import type { BackoffOptions } from '../backoff.js';

/** How the dialling of a peer that does not answer slows down. */
export const LINK_BACKOFF: BackoffOptions = { firstMs: 200, maxMs: 30_000, factor: 1.7, random: Math.random };
