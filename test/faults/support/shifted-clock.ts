import { readFileSync } from 'node:fs';

/**
 * Loaded before a program: its clock is then ahead by as many milliseconds as a file says, and jumps when the file changes. The monotonic
 * clock stays as it is, as on a real machine.
 */
const FILE = process.env.FEDGATE_TEST_CLOCK_FILE ?? '';
/** How often the file is read, milliseconds. */
const LOOK_MS = 50;

const realNow = Date.now;
let offsetMs = readOffset();
setInterval(() => {
  offsetMs = readOffset();
}, LOOK_MS).unref();

function readOffset(): number {
  try {
    return Number(readFileSync(FILE, 'utf8')) || 0;
  } catch {
    return 0;
  }
}

const RealDate = Date;
class ShiftedDate extends RealDate {
  constructor(...args: readonly unknown[]) {
    super(...((args.length === 0 ? [ShiftedDate.now()] : args) as [number]));
  }

  static override now(): number {
    return realNow() + offsetMs;
  }
}
globalThis.Date = ShiftedDate as DateConstructor;
