/** How two texts differ, line by line, for people to read. Bounded: two texts that have too little in common are shown as one replaced by the other. */

/** Lines shown around a change. */
const CONTEXT = 3;
/** The most lines that are removed and added for which the shortest way is searched; beyond, the work would grow with the square. */
const MAX_EDITS = 1_000;

type Edit = ' ' | '-' | '+';
interface Step {
  readonly edit: Edit;
  readonly line: string;
  /** Where it stands in the old and in the new text, from 0; where it is missing: where it would be. */
  readonly oldAt: number;
  readonly newAt: number;
}

/** The hunks of a unified diff, without file names: `@@ -1,3 +1,4 @@`, then lines that begin with a space, `-` or `+`. None for equal texts. */
export function diffLines(before: string, after: string): string[] {
  const steps = stepsBetween(linesOf(before), linesOf(after));
  const lines: string[] = [];
  for (const [start, end] of hunks(steps)) {
    const hunk = steps.slice(start, end);
    lines.push(heading(hunk), ...hunk.map(({ edit, line }) => edit + line));
  }
  return lines;
}

/** A last line without a line feed differs from one that has it, as in every diff. */
function linesOf(text: string): string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  const last = lines.pop() ?? '';
  if (last !== '') lines.push(`${last}\\ no line feed at the end`);
  return lines;
}

function heading(hunk: readonly Step[]): string {
  const side = (missing: Edit, at: number): string => {
    const count = hunk.filter(({ edit }) => edit !== missing).length;
    return `${count === 0 ? at : at + 1},${count}`;
  };
  return `@@ -${side('+', hunk[0]?.oldAt ?? 0)} +${side('-', hunk[0]?.newAt ?? 0)} @@`;
}

/** From and to of each stretch of changes with the lines around it; stretches that would touch are one. */
function hunks(steps: readonly Step[]): [number, number][] {
  const found: [number, number][] = [];
  for (const [i, { edit }] of steps.entries()) {
    if (edit === ' ') continue;
    const last = found.at(-1);
    const end = Math.min(steps.length, i + 1 + CONTEXT);
    if (last && i - CONTEXT <= last[1]) last[1] = end;
    else found.push([Math.max(0, i - CONTEXT), end]);
  }
  return found;
}

function stepsBetween(before: readonly string[], after: readonly string[]): Step[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  const most = Math.min(before.length, after.length) - head;
  while (tail < most && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const edits: Edit[] = [
    ...Array<Edit>(head).fill(' '),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...Array<Edit>(tail).fill(' '),
  ];
  let [oldAt, newAt] = [0, 0];
  return edits.map(edit => {
    const step = { edit, line: (edit === '+' ? after[newAt] : before[oldAt]) ?? '', oldAt, newAt };
    if (edit !== '+') oldAt++;
    if (edit !== '-') newAt++;
    return step;
  });
}

/**
 * The shortest way from one to the other (E. Myers, An O(ND) difference algorithm, 1986): for each number of edits the furthest place on each
 * diagonal, until one is the end; then back.
 */
function middle(before: readonly string[], after: readonly string[]): Edit[] {
  const most = Math.min(MAX_EDITS, before.length + after.length);
  const places = new Int32Array(2 * most + 3);
  const zero = most + 1;
  const rounds: Int32Array[] = [];
  for (let round = 0; round <= most; round++) {
    for (let k = -round; k <= round; k += 2) {
      let x = goesDown(places, zero, k, round) ? at(places, zero + k + 1) : at(places, zero + k - 1) + 1;
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x++;
      places[zero + k] = x;
      if (x >= before.length && x - k >= after.length) return wayBack(rounds, before.length, after.length);
    }
    // Only the diagonals that were reached, so that memory grows with the edits.
    rounds.push(places.slice(zero - round, zero + round + 1));
  }
  return [...before.map((): Edit => '-'), ...after.map((): Edit => '+')];
}

const at = (places: Int32Array, index: number): number => places[index] ?? 0;

/** Whether the best way to a diagonal is from the one above (a line is added), rather than from the one below (a line is removed). */
const goesDown = (places: Int32Array, zero: number, k: number, round: number): boolean =>
  k === -round || (k !== round && at(places, zero + k - 1) < at(places, zero + k + 1));

/** `rounds[r]` holds the diagonals from -r to r. */
function wayBack(rounds: readonly Int32Array[], oldLength: number, newLength: number): Edit[] {
  const edits: Edit[] = [];
  let [x, y] = [oldLength, newLength];
  for (let round = rounds.length; round > 0; round--) {
    const earlier = rounds[round - 1] ?? new Int32Array();
    const zero = round - 1;
    const k = x - y;
    const down = goesDown(earlier, zero, k, round);
    const from = down ? k + 1 : k - 1;
    const fromX = at(earlier, zero + from);
    for (; x > (down ? fromX : fromX + 1); x--, y--) edits.push(' ');
    edits.push(down ? '+' : '-');
    [x, y] = [fromX, fromX - from];
  }
  for (; x > 0; x--) edits.push(' ');
  return edits.reverse();
}
