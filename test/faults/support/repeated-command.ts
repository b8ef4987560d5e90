import { EXIT } from '../../../src/cli/exit-codes.js';
import { Deferred } from '../../../src/client/deferred.js';
import { type RunningCommand, startFedgate } from '../../support/cli.js';
import type { TestScope } from '../../support/registry.js';

/** After so many refusals nobody believes any more that it will end. */
const MAX_LIVES = 200;

/** One command line that is given again and again until it ends well, as somebody would whose machine fails all the time. */
export class RepeatedCommand {
  readonly #scope: TestScope;
  readonly #args: readonly string[];
  readonly #variables: Record<string, string>;
  readonly #ended = new Deferred<string>();
  #current: RunningCommand | undefined;
  #over = false;
  /** How often it was started. */
  lives = 0;

  constructor(scope: TestScope, args: readonly string[], variables: Record<string, string>) {
    this.#scope = scope;
    this.#args = args;
    this.#variables = variables;
    scope.teardown(() => this.kill());
  }

  /** What its last life printed. Rejects when it ended for another reason than that nobody could be reached. */
  get ended(): Promise<string> {
    return this.#ended.promise;
  }

  get over(): boolean {
    return this.#over;
  }

  start(): void {
    if (this.#over) return;
    this.lives++;
    const running = startFedgate(this.#scope, this.#args, this.#variables);
    this.#current = running;
    void running.exited.then(code => this.#gone(running, code));
  }

  /** The hard way; resolves when it is gone. It stays so until it is started again. */
  async kill(): Promise<void> {
    const running = this.#current;
    if (!running) return;
    running.child.kill('SIGKILL');
    await running.exited;
  }

  #gone(running: RunningCommand, code: number | null): void {
    // Killed, and whoever did it starts it again.
    if (code === null) return;
    if (code === EXIT.unreachable && this.lives < MAX_LIVES) return this.start();
    this.#over = true;
    if (code === EXIT.ok) this.#ended.resolve(running.stdout);
    else this.#ended.reject(new Error(`${this.#args[0]} ended with ${code}: ${running.stderr}`));
  }
}
