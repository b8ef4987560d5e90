import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../package-root.js';

/** The compiled binary: what the demo runs is what its printed commands run. */
export const BINARY = fileURLToPath(new URL('bin/fedgate.js', packageRoot));

/** A process of ours that is started again when it dies by itself. */
export class Service {
  readonly name: string;
  readonly #args: readonly string[];
  readonly #logFile: string;
  #child: ChildProcess | undefined;
  #wanted = true;
  #onRestart: (name: string) => void = () => undefined;

  constructor(name: string, args: readonly string[], logFile: string) {
    this.name = name;
    this.#args = args;
    this.#logFile = logFile;
    this.start();
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  onRestart(listener: (name: string) => void): void {
    this.#onRestart = listener;
  }

  start(): void {
    this.#wanted = true;
    const log = openSync(this.#logFile, 'a');
    const child = spawn(process.execPath, [BINARY, ...this.#args], { stdio: ['ignore', log, log, 'ipc'] });
    closeSync(log);
    this.#child = child;
    child.once('exit', () => {
      if (this.#child !== child || !this.#wanted) return;
      this.start();
      this.#onRestart(this.name);
    });
  }

  /** Kills it the hard way; it is started again at once. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** Ends it and waits; resolves with its exit code. */
  stop(): Promise<number | null> {
    this.#wanted = false;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child?.exitCode ?? null);
    return new Promise(resolve => {
      child.once('exit', code => resolve(code));
      child.kill('SIGTERM');
    });
  }
}

/** Runs one command of the binary with the given ends. */
export function runCommand(args: readonly string[], stdio: readonly ('ignore' | 'pipe')[]): ChildProcess {
  return spawn(process.execPath, [BINARY, ...args], { stdio: [...stdio] });
}
