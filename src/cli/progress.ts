import { fstatSync } from 'node:fs';
import { SingleBar } from 'cli-progress';
import type { CliEnv } from './env.js';

/** Shows how far a long work has come; on a terminal only. */
export interface Progress {
  update(records: number, bytes: number): void;
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined };

/** A bar with rate and time left when the size of the input is known, otherwise a count with the rate. */
export function showProgress(env: CliEnv, totalBytes: number | undefined): Progress {
  if (!env.terminal) return SILENT;
  const known = totalBytes !== undefined && totalBytes > 0;
  const bar = new SingleBar({
    stream: env.stderr as NodeJS.WritableStream as never,
    format: known
      ? ' {bar} {percentage}% | {records} records | {rate}/s | {left} left'
      : ' {records} records | {size} | {rate}/s',
    hideCursor: true,
    clearOnComplete: false,
    barsize: 28,
  });
  const start = performance.now();
  bar.start(known ? totalBytes : 0, 0, { records: '0', rate: '0', size: '0 B', left: '…' });
  return {
    update(records, bytes) {
      const seconds = (performance.now() - start) / 1000;
      const left = known && bytes > 0 ? `${Math.max(0, Math.ceil(((totalBytes - bytes) / bytes) * seconds))} s` : '…';
      bar.update(known ? Math.min(bytes, totalBytes) : 0, {
        records: records.toLocaleString('en'),
        rate: Math.round(records / seconds).toLocaleString('en'),
        size: formatBytes(bytes),
        left,
      });
    },
    stop: () => bar.stop(),
  };
}

/** A count of bytes with the rate; on a terminal only. */
export function showBytes(env: CliEnv): { update(bytes: number): void; stop(): void } {
  if (!env.terminal) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    stream: env.stderr as NodeJS.WritableStream as never,
    format: ' {size} | {rate}/s',
    hideCursor: true,
    clearOnComplete: true,
  });
  const start = performance.now();
  bar.start(0, 0, { size: '0 B', rate: '0 B' });
  return {
    update(bytes) {
      const seconds = Math.max(0.001, (performance.now() - start) / 1000);
      bar.update(0, { size: formatBytes(bytes), rate: formatBytes(Math.round(bytes / seconds)) });
    },
    stop: () => bar.stop(),
  };
}

/** How many bytes standard input holds, when it is a file. */
export function inputSize(env: CliEnv): number | undefined {
  const { fd } = env.stdin as { fd?: number };
  if (fd === undefined) return undefined;
  const stats = fstatSync(fd);
  return stats.isFile() ? stats.size : undefined;
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
