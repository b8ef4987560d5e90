import { fstatSync } from 'node:fs';
import { SingleBar } from 'cli-progress';
import type { TransferProgress } from '../client/index.js';
import { formatDuration } from './duration.js';
import type { CliEnv } from './env.js';

interface BarOptions {
  /** Undefined: a line without a bar. */
  readonly totalBytes: number | undefined;
  /** What it says, with `{name}` for each of the values. */
  readonly format: string;
  readonly clearOnComplete: boolean;
}

interface Bar {
  show(bytes: number, values: Readonly<Record<string, string>>): void;
  stop(): void;
}

/** The one thing that is drawn: a bar, or a line, on standard error of a terminal. */
function openBar(env: CliEnv, { totalBytes, format, clearOnComplete }: BarOptions): Bar {
  const bar = new SingleBar({
    stream: env.stderr as NodeJS.WritableStream as never,
    format,
    hideCursor: true,
    clearOnComplete,
    barsize: 28,
  });
  let started = false;
  return {
    show(bytes, values) {
      const at = totalBytes === undefined ? 0 : Math.min(bytes, totalBytes);
      if (started) bar.update(at, values);
      else bar.start(totalBytes ?? 0, at, values);
      started = true;
    },
    stop: () => bar.stop(),
  };
}

/** Shows how far a long work has come; on a terminal only. */
export interface Progress {
  update(records: number, bytes: number): void;
  stop(): void;
}

/** A bar with rate and time left when the size of the input is known, otherwise a count with the rate. */
export function showProgress(env: CliEnv, totalBytes: number | undefined): Progress {
  if (!env.terminal) return { update: () => undefined, stop: () => undefined };
  const total = totalBytes || undefined;
  const format =
    total === undefined
      ? ' {records} records | {size} | {rate}/s'
      : ' {bar} {percentage}% | {records} records | {rate}/s | {left} left';
  const bar = openBar(env, { totalBytes: total, format, clearOnComplete: false });
  const pace = new Pace(0);
  bar.show(0, { records: '0', rate: '0', size: '0 B', left: '…' });
  return {
    update(records, bytes) {
      const rate = Math.round(records / pace.seconds).toLocaleString('en');
      bar.show(bytes, {
        records: records.toLocaleString('en'),
        rate,
        size: formatBytes(bytes),
        left: pace.left(bytes, total),
      });
    },
    stop: bar.stop,
  };
}

/** A count of bytes with the rate; on a terminal only. */
export function showBytes(env: CliEnv): { update(bytes: number): void; stop(): void } {
  const { update, stop } = showTransfer(env);
  return { update: bytes => update({ doneBytes: bytes, totalBytes: undefined, resumedBytes: 0 }), stop };
}

/**
 * A bar with rate and time left when the size is known, otherwise a count with the rate; on a terminal only. It is gone when it is stopped, and
 * back with the next update.
 */
export function showTransfer(env: CliEnv): { update(progress: TransferProgress): void; stop(): void } {
  if (!env.terminal) return { update: () => undefined, stop: () => undefined };
  let bar: Bar | undefined;
  let pace: Pace | undefined;
  return {
    update({ doneBytes, totalBytes, resumedBytes }) {
      pace ??= new Pace(resumedBytes);
      pace.from = resumedBytes;
      const total = totalBytes || undefined;
      const format =
        total === undefined
          ? ' {size} | {rate}/s'
          : ' {bar} {percentage}% | {size} of {whole} | {rate}/s | {left} left';
      bar ??= openBar(env, { totalBytes: total, format, clearOnComplete: true });
      bar.show(doneBytes, {
        size: formatBytes(doneBytes),
        whole: formatBytes(total ?? 0),
        rate: formatBytes(pace.rate(doneBytes)),
        left: pace.left(doneBytes, total),
      });
    },
    stop() {
      bar?.stop();
      bar = undefined;
    },
  };
}

/** How fast something goes, from where it began. */
export class Pace {
  readonly #startMs = performance.now();
  /** What was done before. */
  from: number;

  constructor(from: number) {
    this.from = from;
  }

  get seconds(): number {
    return Math.max(0.001, (performance.now() - this.#startMs) / 1000);
  }

  /** Per second. */
  rate(done: number): number {
    return Math.max(0, Math.round((done - this.from) / this.seconds));
  }

  /** `2 m 5 s`; `…` while it is not known. */
  left(done: number, total: number | undefined): string {
    const rate = (done - this.from) / this.seconds;
    if (total === undefined || rate <= 0) return '…';
    const seconds = Math.ceil(Math.max(0, total - done) / rate);
    return seconds === 0 ? '0 s' : formatDuration(seconds * 1000);
  }
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
