import { fieldError, quoted } from '../errors.js';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Parses `500ms`, `10s`, `5m`, `24h`, `7d` into milliseconds. Throws FIELD_INVALID naming the option. */
export function parseDuration(text: string, option: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (!match) throw fieldError(option, `${quoted(text)} is not a duration such as 500ms, 10s, 5m, 24h or 7d`);
  return Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? 0);
}

/** A duration for people: `3 d 4 h`, `12 s`, `340 ms`; its two largest units. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const parts: string[] = [];
  let rest = ms;
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNIT_MS[unit] ?? 1;
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || parts.length > 0) parts.push(`${count} ${unit}`);
    if (parts.length === 2) break;
  }
  return parts.filter(part => !part.startsWith('0 ')).join(' ');
}
