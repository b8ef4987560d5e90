import type { From } from '../client/index.js';
import { fieldError, quoted } from '../errors.js';
import { parseTime } from './times.js';

/** How positions are explained in the help of an option. */
export const POSITION_HELP =
  'earliest, latest, an offset, a time such as 2026-03-01T12:00:00Z, or a duration before now such as 10m';

/** A place in the log, as a person types it. Throws FIELD_INVALID naming the option. */
export function parsePosition(text: string, option: string, nowMs: number): From {
  if (text === 'earliest' || text === 'latest') return text;
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) };
  try {
    return { time: parseTime(text, option, nowMs) };
  } catch {
    throw fieldError(option, `${quoted(text)} is no position: ${POSITION_HELP}`);
  }
}
