/** The longest life of a leaf that is believed, so that a leaked key does not count for decades. */
export const MAX_LEAF_LIFETIME_MS = 400 * 24 * 3_600_000;
