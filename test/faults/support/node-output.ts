import { writeSync } from 'node:fs';
import { monotonicMs, type RecordedEvent } from './events.js';
import type { NodeNews } from './flows.js';

const STDOUT = 1;

type Unstamped<E> = E extends RecordedEvent ? Omit<E, 'atMs'> : never;

/** Writes a line and does not return before the system has it: what was written outlives a kill at the next instruction. */
function write(value: RecordedEvent | NodeNews): void {
  let rest = Buffer.from(`${JSON.stringify(value)}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(STDOUT, rest));
    } catch (error) {
      // The reader is behind.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

/** Appends to the recording, with the time it is now. */
export const record = (event: Unstamped<RecordedEvent>): void =>
  write({ ...event, atMs: monotonicMs() } as RecordedEvent);

export const announce = (news: NodeNews): void => write(news);
