import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { describe, FedgateError } from '../../errors.js';
import { escapeControls } from '../../text.js';

/** How much of what a program says on standard output is taken, and of its errors told. */
export const MAX_OUTPUT_BYTES = 16 * 1024;
const MAX_ERROR_BYTES = 4 * 1024;

export interface ProgramSettings {
  /** Program and arguments. No shell is between. */
  readonly command: readonly string[];
  /** For its standard input. */
  readonly input: Buffer;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Hears at once what it says on standard error, such as that a token waits to be touched. */
  readonly onStderr?: ((chunk: Buffer) => void) | undefined;
}

/**
 * Runs a program to its end and returns what it wrote to standard output. Rejects with SIGNER_FAILED when it cannot be started, does not end with
 * 0, says too much or takes too long (it is then killed), and with CANCELLED.
 *
 * It stays in our group of processes and on our terminal, so that it can ask for a PIN there.
 */
export function runProgram(settings: ProgramSettings): Promise<Buffer> {
  const { command, input, variables, timeoutMs, signal, onStderr } = settings;
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const errors = new Tail(MAX_ERROR_BYTES);
    const output: Buffer[] = [];
    let length = 0;
    let child: ChildProcessWithoutNullStreams;
    const failed = (why: string, cause?: unknown): FedgateError => {
      const said = errors.text === '' ? '' : `; it said: ${errors.text}`;
      return new FedgateError('SIGNER_FAILED', `${program}: ${why}${said}`, cause === undefined ? {} : { cause });
    };
    const settle = (outcome: Buffer | FedgateError): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      if (outcome instanceof FedgateError) reject(outcome);
      else resolve(outcome);
    };
    const giveUp = (error: FedgateError): void => {
      child.kill('SIGKILL');
      // What it may have started could keep these open.
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      settle(error);
    };
    const cancel = (): void => giveUp(new FedgateError('CANCELLED', `${program}: cancelled`));
    const timer = setTimeout(() => giveUp(failed(`not done after ${timeoutMs / 1000} s`)), timeoutMs);
    try {
      signal?.throwIfAborted();
      child = spawn(program, args, { env: { ...variables }, stdio: 'pipe', shell: false });
    } catch (cause) {
      return settle(
        signal?.aborted ? new FedgateError('CANCELLED', `${program}: cancelled`) : failed(describe(cause), cause),
      );
    }
    signal?.addEventListener('abort', cancel, { once: true });
    child.on('error', cause => settle(failed(`cannot be run: ${describe(cause)}`, cause)));
    child.stdout.on('data', (chunk: Buffer) => {
      output.push(chunk);
      length += chunk.length;
      if (length > MAX_OUTPUT_BYTES) giveUp(failed(`wrote more than ${MAX_OUTPUT_BYTES} bytes`));
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors.add(chunk);
      onStderr?.(chunk);
    });
    child.on('close', (code, killedBy) => {
      if (code === 0) settle(Buffer.concat(output));
      else settle(failed(killedBy === null ? `ended with ${code}` : `ended by ${killedBy}`));
    });
    // One that does not read its input is told by what it answers, or does not.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** The last bytes of what was said. */
class Tail {
  readonly #limit: number;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-this.#limit);
  }

  /** In one line, safe to show. */
  get text(): string {
    return escapeControls(this.#bytes.toString('utf8').trim().replace(/\s+/g, ' '));
  }
}
