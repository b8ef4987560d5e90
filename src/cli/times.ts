import { fieldError, quoted } from '../errors.js';
import { formatDuration, parseDuration } from './duration.js';

/**
 * Parses a moment: `2026-03-01`, `2026-03-01T12:00:00Z`, or a duration before now (`10m`). Without a zone a time is that of this
 * machine, a date alone is UTC. Throws FIELD_INVALID naming the option.
 */
export function parseTime(text: string, option: string, nowMs: number): number {
  if (/^\d+[a-z]+$/.test(text)) return nowMs - parseDuration(text, option);
  const timeMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!(timeMs > 0))
    throw fieldError(
      option,
      `${quoted(text)} is neither a time such as 2026-03-01T12:00:00Z nor a duration such as 10m`,
    );
  return timeMs;
}

export const isoTime = (timeMs: number | bigint): string => new Date(Number(timeMs)).toISOString();

/** For JSON: nothing when there is no time. */
export const isoTimeIfAny = (timeMs: bigint): string | undefined => (timeMs > 0n ? isoTime(timeMs) : undefined);

/** `3 m 5 s ago`; `-` when there is no time. */
export const ago = (timeMs: bigint, nowMs: number): string =>
  timeMs > 0n ? `${formatDuration(nowMs - Number(timeMs))} ago` : '-';
