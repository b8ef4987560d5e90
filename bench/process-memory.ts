import { readFileSync } from 'node:fs';

/** A field of Linux's /proc/PID/status that is a size, bytes; undefined where there is none. */
export function statusBytes(pid: number | 'self' | undefined, field: 'VmRSS' | 'VmHWM'): number | undefined {
  try {
    const kilobytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}
