import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { statusBytes } from './process-memory.js';

/**
 * Real processes for a measurement: the orchestrator forks compiled modules and calls functions in them.
 *
 * A worker ends when its orchestrator does, however that ends: its IPC channel closes and `disconnect` fires.
 */

/** What a worker module offers. Parameters and results are structured-cloned. */
export type Methods = { readonly [name: string]: (params: never) => unknown };

/** Every worker also answers these. */
export interface CommonMethods {
  /** CPU time used so far, seconds: this process and what it started. */
  cpuSeconds(params: undefined): number;
  /** Resident set, bytes. */
  rss(params: undefined): number;
  /** The highest it ever was, bytes. */
  peakRss(params: undefined): number;
}

interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

interface Response {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** Answers calls in a worker process. `methods` may replace the common ones. */
export function serveWorker(methods: Methods): void {
  const all: Methods = { ...common, ...methods };
  process.on('message', (request: Request) => void answer(all, request));
  process.once('disconnect', () => process.exit(0));
}

const common = {
  cpuSeconds: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
  rss: () => process.memoryUsage.rss(),
  // What getrusage says counts the parent of a fork too.
  peakRss: () => statusBytes('self', 'VmHWM') ?? process.resourceUsage().maxRSS * 1024,
} satisfies CommonMethods;

async function answer(methods: Methods, { id, method, params }: Request): Promise<void> {
  let response: Response;
  try {
    const handler = methods[method];
    if (!handler) throw new Error(`this worker has no ${method}`);
    response = { id, result: await handler(params as never) };
  } catch (error) {
    response = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  if (process.connected) process.send?.(response);
}

type Answer<M, K extends keyof M> = M[K] extends (params: never) => infer R ? Promise<Awaited<R>> : never;
type Params<M, K extends keyof M> = M[K] extends (params: infer P) => unknown ? P : never;

/** A worker process, seen from the orchestrator. */
export class Worker<M> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #ended: Error | undefined;

  /** `module` is the URL of a compiled module that calls `serveWorker`. */
  constructor(name: string, module: URL) {
    this.#name = name;
    this.#child = fork(fileURLToPath(module), { serialization: 'advanced', stdio: ['ignore', 2, 2, 'ipc'] });
    this.#child.on('message', (response: Response) => this.#settle(response));
    this.#child.once('error', error => this.#end(error));
    this.#child.once('exit', (code, signal) => this.#end(new Error(`${name} ended (${signal ?? code})`)));
  }

  /** Throws what the method throws, when the process ends, or after `timeoutMs`. */
  async call<K extends keyof M & string>(
    method: K,
    params: Params<M, K>,
    timeoutMs = 60_000,
  ): Promise<Awaited<Answer<M, K>>> {
    if (this.#ended) throw this.#ended;
    const id = ++this.#lastId;
    const result = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    const timer = setTimeout(
      () => this.#settle({ id, error: `${this.#name} did not answer ${method} in ${timeoutMs} ms` }),
      timeoutMs,
    );
    this.#child.send({ id, method, params } satisfies Request);
    try {
      return (await result) as Awaited<Answer<M, K>>;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    const exited = once(this.#child, 'exit');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000);
    this.#child.disconnect();
    await exited;
    clearTimeout(timer);
  }

  #settle({ id, result, error }: Response): void {
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${this.#name}: ${error}`));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}
