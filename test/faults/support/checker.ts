import type { RecordedEvent } from './events.js';
import { findDuplicates } from './invariants/duplicates.js';
import { findLosses } from './invariants/loss.js';
import { findDisorder } from './invariants/order.js';
import { findForeign } from './invariants/origin.js';
import { findStandstill } from './invariants/progress.js';
import { findExcess } from './invariants/resources.js';

/**
 * I1 no acknowledged message is lost · I2 none is delivered twice to a consumer that acknowledged it, and what comes again is marked ·
 * I3 order per publisher and channel · I4 none comes from anyone but its sender, and as it was sent · I5 memory and disk within their
 * caps · I6 progress within a bound after healing · I7 a file that came is byte for byte what was shared · I8 no piece that was verified is
 * sent again.
 */
export type Invariant = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8';

export interface Violation {
  readonly invariant: Invariant;
  /** For people: which message, what was expected. */
  readonly what: string;
}

/** A durable subscription that was there before the first publish. */
export interface CheckedSubscription {
  readonly name: string;
  readonly org: string;
  /** The channels of its organisation that its pattern matches. */
  readonly channels: readonly string[];
  /** Several consumers share it: order holds per record key only. */
  readonly group?: boolean;
}

export interface Rules {
  readonly subscriptions: readonly CheckedSubscription[];
  /** Acknowledged messages may be missing where a consumer was told so: the faults destroyed stored data. @default false */
  readonly reportedLoss?: boolean;
  /** How near to the death of a gateway or its disk something must have been delivered to come again without a mark, milliseconds. @default 0 */
  readonly unmarkedMs?: number;
  readonly maxResidentBytes?: number;
  readonly maxDiskBytes?: number;
  /** How soon after a healing something must have been delivered, milliseconds. */
  readonly progressMs?: number;
}

/** Judges a recording. Pure: the same recording gives the same violations, in the same order. */
export function check(recording: readonly RecordedEvent[], rules: Rules): Violation[] {
  const events = [...recording].sort((a, b) => a.atMs - b.atMs);
  return [
    ...findLosses(events, rules),
    ...findDuplicates(events, rules),
    ...findDisorder(events, rules),
    ...findForeign(events),
    ...findExcess(events, rules),
    ...findStandstill(events, rules),
  ];
}

export const NONE = 'no violations';

/** Violations in a form that a failed assertion can print. */
export const describeViolations = (violations: readonly Violation[]): string =>
  violations.length === 0
    ? NONE
    : [
        `${violations.length} violations`,
        ...violations.slice(0, 20).map(({ invariant, what }) => `${invariant} ${what}`),
      ].join('\n');
