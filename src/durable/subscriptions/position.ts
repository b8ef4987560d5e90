import type { Range } from './ranges.js';

/** Records that were delivered equally often. */
export interface Run extends Range {
  readonly count: number;
}

/** How far a subscription is, as its row says it. */
export interface CursorState {
  /** The lowest offset that is not settled. */
  readonly floor: number;
  /** What is before this offset and not settled was delivered once, or as often as `deliveries` says. */
  readonly deliveredTo: number;
  /** What is settled above the floor. In order, without neighbours. */
  readonly settled: readonly Range[];
  readonly deliveries: readonly Run[];
  /** Offsets of entries that are in part settled and of which some record was not acknowledged. */
  readonly spoiled: readonly number[];
}

export const beginningAt = (floor: number): CursorState => ({
  floor,
  deliveredTo: floor,
  settled: [],
  deliveries: [],
  spoiled: [],
});

/** Splits offsets by how often they were delivered. */
export function runsOf({ first, last }: Range, { deliveredTo, deliveries }: CursorState): readonly Run[] {
  const runs: Run[] = [];
  const plain = (from: number, to: number): void => {
    if (from > to) return;
    if (from >= deliveredTo) runs.push({ first: from, last: to, count: 0 });
    else if (to < deliveredTo) runs.push({ first: from, last: to, count: 1 });
    else {
      runs.push({ first: from, last: deliveredTo - 1, count: 1 });
      runs.push({ first: deliveredTo, last: to, count: 0 });
    }
  };
  let at = first;
  for (const run of deliveries) {
    if (run.last < at) continue;
    if (run.first > last) break;
    plain(at, run.first - 1);
    const from = Math.max(at, run.first);
    const to = Math.min(last, run.last);
    runs.push({ first: from, last: to, count: run.count });
    at = to + 1;
  }
  plain(at, last);
  return runs;
}
