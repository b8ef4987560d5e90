import type { Rules, Violation } from '../checker.js';
import type { RecordedEvent } from '../events.js';

/** I5. No gateway took more memory or disk than it may, whatever happened to it. */
export function findExcess(events: readonly RecordedEvent[], { maxResidentBytes, maxDiskBytes }: Rules): Violation[] {
  const violations: Violation[] = [];
  const judge = (process: string, what: string, bytes: number, most: number | undefined): void => {
    if (most !== undefined && bytes > most)
      violations.push({
        invariant: 'I5',
        what: `${process} took ${mib(bytes)} of ${what}, and ${mib(most)} is the most`,
      });
  };
  for (const event of events) {
    if (event.kind !== 'resources') continue;
    judge(event.process, 'memory', event.peakResidentBytes, maxResidentBytes);
    judge(event.process, 'disk', event.diskBytes, maxDiskBytes);
  }
  return violations;
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
