import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { run } from '../../src/cli/program.js';
import { packageRoot } from '../../src/package-root.js';
import type { TestScope } from './registry.js';

export const BINARY = fileURLToPath(new URL('bin/fedgate.js', packageRoot));

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandSettings {
  readonly stdin?: string | Buffer | Readable;
  readonly variables?: Record<string, string>;
  readonly signal?: AbortSignal;
  /** Whether somebody sits at a terminal and can be asked. @default false */
  readonly terminal?: boolean;
}

/** Runs a command line in this process. */
export async function fedgate(
  args: readonly string[],
  { stdin = '', variables = {}, signal, terminal = false }: CommandSettings = {},
): Promise<CommandResult> {
  const stdout = new Collector();
  const stderr = new Collector();
  const input = stdin instanceof Readable ? stdin : Readable.from(stdin.length > 0 ? [Buffer.from(stdin)] : []);
  const code = await run(args, {
    stdin: Object.assign(input, { isTTY: terminal }),
    stdout,
    stderr: Object.assign(stderr, { isTTY: terminal, columns: 200 }),
    terminal,
    variables,
    signal: signal ?? new AbortController().signal,
    exitCode: 0,
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

class Collector extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

export interface RunningCommand {
  readonly child: ChildProcess;
  stdout: string;
  stderr: string;
  /** Resolves when a text has been printed on either output. Rejects when the process ends before. */
  printed(text: string | RegExp): Promise<void>;
  readonly exited: Promise<number | null>;
}

/** Starts the real binary as a process; ended after the test. */
export function startFedgate(
  t: TestScope,
  args: readonly string[],
  variables: Record<string, string> = {},
): RunningCommand {
  const child = spawn(process.execPath, [BINARY, ...args], {
    env: { ...process.env, ...variables },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const waiting = new Set<() => void>();
  const running: RunningCommand = {
    child,
    stdout: '',
    stderr: '',
    exited,
    printed: text =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = [running.stdout, running.stderr].some(all =>
            typeof text === 'string' ? all.includes(text) : text.test(all),
          );
          if (!found) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
        void exited.then(code =>
          reject(new Error(`ended with ${code} before printing ${text}:\n${running.stdout}\n${running.stderr}`)),
        );
      }),
  };
  child.stdout?.on('data', (chunk: Buffer) => {
    running.stdout += chunk;
    for (const look of [...waiting]) look();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    running.stderr += chunk;
    for (const look of [...waiting]) look();
  });
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  });
  return running;
}
