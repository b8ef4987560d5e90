import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** A program of another language or a shell command, with what it printed. */
export class Shell {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  output = '';
  errors = '';

  /** The variables are added to those of this process. */
  constructor(command: string, args: readonly string[], variables: Readonly<Record<string, string>>, cwd?: string) {
    const env = { ...process.env, ...variables };
    // A group of its own, so that ending it ends what the shell started.
    this.#child = spawn(command, args, { env, cwd, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.output += chunk;
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.errors += chunk;
    });
    this.#exited = once(this.#child, 'close').catch((error: unknown) => {
      this.errors += String(error);
    });
  }

  /** Runs a block of shell commands, as a person pastes them. */
  static paste(block: string, variables: Readonly<Record<string, string>>): Shell {
    return new Shell('bash', ['-euo', 'pipefail', '-c', block], variables);
  }

  type(text: string): this {
    this.#child.stdin?.end(text);
    return this;
  }

  /** Waits until it has printed this, on either stream. Throws with everything it printed when it does not. */
  async printed(pattern: RegExp, timeoutMs = 60_000): Promise<void> {
    for (const giveUp = Date.now() + timeoutMs; Date.now() < giveUp; await sleep(20)) {
      if (pattern.test(this.output) || pattern.test(this.errors)) return;
      if (this.#child.exitCode !== null) break;
    }
    if (pattern.test(this.output) || pattern.test(this.errors)) return;
    throw new Error(`did not print ${pattern}:\n${this.output}\n${this.errors}`);
  }

  /** Waits for its end and gives back what it printed. Throws unless it succeeds. */
  async finished(timeoutMs = 90_000): Promise<string> {
    const timer = setTimeout(() => this.kill(), timeoutMs);
    await this.#exited;
    clearTimeout(timer);
    if (this.#child.exitCode !== 0)
      throw new Error(`ended with ${this.#child.exitCode}:\n${this.output}\n${this.errors}`);
    return this.output;
  }

  kill(): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    process.kill(-pid, 'SIGTERM');
  }
}
