import type { SignedSnapshot } from '../../gen/ts/fedgate/registry/v1/record.js';
import { Backoff } from '../backoff.js';
import { FedgateError } from '../errors.js';
import { fromGrpcError } from '../transport/status.js';
import type { RegistryClient } from './client.js';
import type { Directory } from './directory.js';

/** How the asking of a registry that does not answer slows down. */
export const REGISTRY_BACKOFF = { firstMs: 200, maxMs: 30_000, factor: 2 } as const;
/** setTimeout takes no more. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface WatcherOptions {
  readonly client: Pick<RegistryClient, 'getSnapshot' | 'watchSnapshot'>;
  readonly directory: Directory;
  /** Hears of every snapshot that was refused. The last good one stays. */
  readonly onSecurityEvent: (error: FedgateError) => void;
  /** Ends the watching. The same as `close`. */
  readonly signal?: AbortSignal;
  /** A number from 0 to 1; spreads the tries of many gateways. @default Math.random */
  readonly random?: () => number;
}

export interface WatcherStatus {
  readonly connected: boolean;
  /** Why it is not, or what was last refused. Undefined: nothing since the last good snapshot. */
  readonly lastError: FedgateError | undefined;
}

/**
 * Keeps a directory fresh: asks for the newest snapshot, then watches for new ones, and begins again, more and more slowly, whenever
 * that ends. Never gives up. Begins at once; `close` ends it.
 */
export class RegistryWatcher {
  readonly #options: WatcherOptions;
  readonly #stop = new AbortController();
  readonly #first = deferred();
  readonly #running: Promise<void>;
  readonly #stopWatchingExpiry: () => void;
  #expiry: NodeJS.Timeout | undefined;
  #connected = false;
  #lastError: FedgateError | undefined;

  constructor(options: WatcherOptions) {
    this.#options = options;
    // Nobody may be waiting for it.
    this.#first.promise.catch(() => undefined);
    if (options.directory.isFresh()) this.#first.resolve();
    this.#stopWatchingExpiry = options.directory.onChange(() => this.#armExpiry());
    this.#armExpiry();
    options.signal?.addEventListener('abort', () => this.#stop.abort(), { once: true });
    if (options.signal?.aborted) this.#stop.abort();
    this.#running = this.#run();
  }

  status(): WatcherStatus {
    return { connected: this.#connected, lastError: this.#lastError };
  }

  /** Resolves once a good snapshot is at hand: from the registry, or a fresh one from disk. Rejects (CANCELLED) when closed before. */
  ready(): Promise<void> {
    return this.#first.promise;
  }

  /** Ends the watching and waits until it has ended. The client stays open. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff({ ...REGISTRY_BACKOFF, random: this.#options.random ?? Math.random });
    while (!signal.aborted) {
      try {
        await this.#watch(() => backoff.reset());
        this.#lastError = new FedgateError('REGISTRY_UNREACHABLE', 'the registry ended the watch');
      } catch (error) {
        this.#lastError = fromGrpcError(error, 'REGISTRY_UNREACHABLE');
      }
      this.#connected = false;
      await pause(backoff.next(), signal);
    }
    clearTimeout(this.#expiry);
    this.#stopWatchingExpiry();
    this.#first.reject(new FedgateError('CANCELLED', 'the watch was closed'));
  }

  /** One connection. A unary call comes first: it tells at once whether, and at which address, somebody is there. */
  async #watch(onAnswer: () => void): Promise<void> {
    const { client, directory } = this.#options;
    const settings = { signal: this.#stop.signal };
    this.#take(await client.getSnapshot(settings));
    this.#connected = true;
    onAnswer();
    for await (const signed of client.watchSnapshot(directory.version, settings)) this.#take(signed);
  }

  #take(signed: SignedSnapshot): void {
    try {
      this.#options.directory.offer(signed);
      this.#lastError = undefined;
      this.#first.resolve();
    } catch (error) {
      const refusal = fromGrpcError(error);
      this.#lastError = refusal;
      this.#options.onSecurityEvent(refusal);
    }
  }

  /** The end of a snapshot is a change that no message announces. */
  #armExpiry(): void {
    const { directory } = this.#options;
    clearTimeout(this.#expiry);
    if (!directory.isFresh()) return;
    const leftMs = Math.min(directory.expireTimeMs - Date.now() + 1, LONGEST_TIMER_MS);
    this.#expiry = setTimeout(
      () => (directory.isFresh() ? this.#armExpiry() : directory.notify()),
      Math.max(leftMs, 1),
    );
    this.#expiry.unref();
  }
}

/** Promise.withResolvers, which Node 20 does not have. */
function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let settle: Pick<ReturnType<typeof deferred>, 'resolve' | 'reject'> = {
    resolve: () => undefined,
    reject: () => undefined,
  };
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle };
}

function pause(timeMs: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, timeMs);
    signal.addEventListener('abort', done, { once: true });
  });
}
