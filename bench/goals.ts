/** A ratio, and whether it is what the design promises. */
export interface Goal {
  readonly what: string;
  readonly value: number;
  /** Undefined: shown for comparison, nothing is promised. */
  readonly bound?: number;
  readonly met?: boolean;
}

export const atLeast = (what: string, value: number, bound: number): Goal => ({
  what,
  value,
  bound,
  met: value >= bound,
});

export const atMost = (what: string, value: number, bound: number): Goal => ({
  what,
  value,
  bound,
  met: value <= bound,
});

export const goalRow = ({ what, value, bound, met }: Goal): string[] =>
  bound === undefined
    ? [what, value.toFixed(2), '', '']
    : [what, value.toFixed(2), `goal ${bound}`, met ? 'PASS' : 'short'];
