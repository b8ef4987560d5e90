import type { CrashPoint } from './store.js';

/** Where a process is to end, and at which passage. */
export interface CrashAt {
  readonly point: CrashPoint;
  /** @default 1 */
  readonly nth?: number | undefined;
}

/** Called at each point; kills the process at the chosen passage, as a power cut would: nothing is closed or written any more. */
export type Passage = (point: CrashPoint) => void;

export function passages(crashAt: CrashAt | undefined): Passage {
  if (!crashAt) return () => undefined;
  let left = crashAt.nth ?? 1;
  return point => {
    if (point === crashAt.point && --left === 0) process.kill(process.pid, 'SIGKILL');
  };
}

const POINTS: readonly CrashPoint[] = ['before-write', 'after-write', 'after-sync', 'after-commit', 'during-trim'];

/** Reads `point` or `point:nth`. Throws a RangeError for anything else. */
export function parseCrashAt(text: string): CrashAt {
  const [name, nth = '1', ...more] = text.split(':');
  const point = POINTS.find(known => known === name);
  if (!point || more.length > 0 || !/^[1-9][0-9]{0,8}$/.test(nth)) {
    throw new RangeError(`not a crash point: one of ${POINTS.join(', ')}, and perhaps \`:\` and a number`);
  }
  return { point, nth: Number(nth) };
}
