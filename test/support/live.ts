/** Options of a publish whose records are not stored, in tests of live delivery. */
export const LIVE = { delivery: 'live' } as const;
