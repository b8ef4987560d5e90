import type { LogEntry } from '../types.js';
import { Held } from './held.js';
import { Ledger, type LedgerOptions, type Segment } from './ledger.js';
import { beginningAt, type CursorState, type Run, runsOf } from './position.js';
import { type Range, without } from './ranges.js';

/**
 * How far a subscription is: what it took from the log, and what of that is not settled. No I/O, no clock.
 *
 * After a restart it begins at its floor and goes through the log again: what its row says was settled is left out, and what it says was
 * delivered counts as that.
 */
export class Cursor {
  readonly ledger: Ledger;
  #next: number;
  /** What the row said of the part of the log that was not gone through again yet. */
  #before: CursorState;
  /** Ranges of it that are behind us. */
  #passed = 0;

  constructor(state: CursorState, options: LedgerOptions) {
    this.ledger = new Ledger(options);
    this.#next = state.floor;
    this.#before = state;
  }

  /** Everything before it is settled, or is not for this subscription. */
  get floor(): number {
    return this.ledger.segments[0]?.first ?? this.#next;
  }

  /** Everything before it was taken from the log. */
  get next(): number {
    return this.#next;
  }

  /** Takes the next entry of the log. Returns undefined when nothing of it is left to be settled. */
  admit(entry: LogEntry, held: Held = new Held(entry)): Held | undefined {
    const end = entry.offset + entry.count;
    const from = Math.max(entry.offset, this.#next);
    for (const range of without(from, end - 1, this.#before.settled, this.#passed)) {
      this.#pass(range.first);
      for (const { first, last, count } of runsOf(range, this.#before)) this.ledger.add(first, last, held, count);
    }
    if (this.#before.spoiled.includes(entry.offset)) held.spoiled = true;
    this.passTo(end);
    return held.open === 0 ? undefined : held;
  }

  /** Nothing up to here is for this subscription. */
  passTo(offset: number): void {
    if (offset <= this.#next) return;
    this.#pass(offset);
    this.#next = offset;
    const { deliveredTo, settled } = this.#before;
    if (offset < deliveredTo || this.#passed < settled.length || settled.length + deliveredTo === 0) return;
    this.#before = beginningAt(0);
    this.#passed = 0;
  }

  state(): CursorState {
    const { segments } = this.ledger;
    const { floor } = this;
    const settled: Range[] = [];
    const deliveries: Run[] = [];
    const spoiled = new Set<number>();
    let before: Segment | undefined;
    for (const segment of segments) {
      if (before && segment.behindSettled) settled.push({ first: before.last + 1, last: segment.first - 1 });
      addRun(deliveries, segment);
      if (segment.held.spoiled) spoiled.add(segment.held.entry.offset);
      before = segment;
    }
    if (before && this.ledger.tailSettled && before.last + 1 < this.#next)
      settled.push({ first: before.last + 1, last: this.#next - 1 });
    this.#addBefore(settled, deliveries, spoiled);
    return {
      floor,
      deliveredTo: deliveredTo(deliveries, Math.max(this.#next, this.#before.deliveredTo)),
      settled: merged(settled, floor),
      deliveries,
      spoiled: [...spoiled],
    };
  }

  /** What the row said of what lies ahead still holds. */
  #addBefore(settled: Range[], deliveries: Run[], spoiled: Set<number>): void {
    const next = this.#next;
    for (const { first, last } of this.#before.settled.slice(this.#passed))
      if (last >= next) settled.push({ first: Math.max(first, next), last });
    for (const run of this.#before.deliveries)
      if (run.last >= next) deliveries.push({ ...run, first: Math.max(run.first, next) });
    for (const offset of this.#before.spoiled) if (offset >= next) spoiled.add(offset);
  }

  /** Settled ranges of before that we go past stand between the last segment and the next one. */
  #pass(offset: number): void {
    const { settled } = this.#before;
    while ((settled[this.#passed]?.first ?? Number.POSITIVE_INFINITY) < offset) {
      if (this.ledger.segments.length > 0) this.ledger.skipSettled();
      if ((settled[this.#passed]?.last ?? 0) >= offset) return;
      this.#passed++;
    }
  }
}

/** Records that were delivered once are the rule and not told. */
function addRun(runs: Run[], { first, last, count }: Segment): void {
  if (count === 1) return;
  const before = runs.at(-1);
  if (before && before.count === count && before.last + 1 === first) runs[runs.length - 1] = { ...before, last };
  else runs.push({ first, last, count });
}

/** What is at the end and was never delivered need not be told: it is left out of `runs`. */
function deliveredTo(runs: Run[], end: number): number {
  let to = end;
  for (let run = runs.at(-1); run && run.count === 0 && run.last + 1 === to; run = runs.at(-1)) {
    to = run.first;
    runs.pop();
  }
  return to;
}

function merged(ranges: readonly Range[], floor: number): readonly Range[] {
  const result: Range[] = [];
  for (const range of ranges) {
    const before = result.at(-1);
    if (range.last < floor) continue;
    if (before && before.last + 1 >= range.first) result[result.length - 1] = { first: before.first, last: range.last };
    else result.push(range);
  }
  return result;
}
