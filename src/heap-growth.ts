import { setFlagsFromString } from 'node:v8';

/**
 * How far the heap may grow before V8 marks all of it, in per cent of its size.
 *
 * Frames and chunks live in memory outside of V8's heap and are garbage a moment later. V8 counts that memory when it decides whether to mark
 * the whole heap, and by itself may settle on a few MB above the heap as the measure: with a heap as small as a gateway's (20 MB) it then
 * marks up to twenty times a second at 100 MB/s of traffic, which is half of the gateway's work. docs/decisions/0024-heap-growth.md has
 * the figures.
 */
const GATEWAY_PERCENT = 150;

/**
 * The same for a program that does nothing but carry a file. Its heap is half of a gateway's, and V8 looks at what is young only once 32 MB of
 * it have come: below that, one and a half times the heap, it marks all of it before each time.
 */
const PROGRAM_PERCENT = 400;

/** For the process, from the next collection on. */
export function letHeapGrow(whose: 'gateway' | 'program'): void {
  setFlagsFromString(`--heap-growing-percent=${whose === 'gateway' ? GATEWAY_PERCENT : PROGRAM_PERCENT}`);
}
