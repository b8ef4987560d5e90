/** Offsets from one to another, both included. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** In order, without overlaps; neighbours become one. Those that end before they begin go. */
export function normalised(ranges: readonly Range[]): readonly Range[] {
  const [only] = ranges;
  if (ranges.length === 1 && only && only.first <= only.last) return ranges;
  const sorted = ranges.filter(({ first, last }) => first <= last).sort((a, b) => a.first - b.first);
  const result: { first: number; last: number }[] = [];
  for (const { first, last } of sorted) {
    const before = result.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else result.push({ first, last });
  }
  return result;
}

/** What of `from` to `last` is in none of the ranges, which are normalised, and of which those before `start` are not looked at. */
export function without(from: number, last: number, ranges: readonly Range[], start = 0): readonly Range[] {
  const result: Range[] = [];
  let at = from;
  for (let i = start; i < ranges.length; i++) {
    const range = ranges[i] as Range;
    if (range.last < at) continue;
    if (range.first > last) break;
    if (range.first > at) result.push({ first: at, last: range.first - 1 });
    at = range.last + 1;
  }
  if (at <= last) result.push({ first: at, last });
  return result;
}

export const lengthOf = ({ first, last }: Range): number => last - first + 1;
