import type { Readable, Writable } from 'node:stream';
import { describe, FedgateError } from '../errors.js';

/** All that a command may touch of the world around it. */
export interface CliEnv {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Whether stderr is a terminal: progress bars and hints only then. */
  readonly terminal: boolean;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Fires on SIGINT and SIGTERM. A command then ends what it does and reports what was done. */
  readonly signal: AbortSignal;
  /** What the process will end with; a command sets it when it is not 0 and nothing was thrown. */
  exitCode: number;
}

/** Writes a line to standard output and waits until it is taken, so that a slow reader of a pipe stops us. */
export function print(env: CliEnv, line: string): Promise<void> {
  return write(env.stdout, `${line}\n`);
}

/** Writes a line for people to standard error. */
export function say(env: CliEnv, line: string): void {
  env.stderr.write(`${line}\n`);
}

export function printJson(env: CliEnv, value: unknown): Promise<void> {
  return print(
    env,
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item)),
  );
}

/** Throws FILE_UNUSABLE, and EPIPE as it comes when the reader of a pipe has gone. */
export function write(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(chunk, error => (error ? reject(unwritable(error)) : resolve()));
  });
}

function unwritable(cause: NodeJS.ErrnoException): Error {
  if (cause.code === 'EPIPE') return cause;
  return new FedgateError('FILE_UNUSABLE', `the output cannot be written: ${describe(cause)}`, { cause });
}

/** Lines up columns: `rows` as cells, the first row being the heading. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map(row =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
