import type { Client } from '@grpc/grpc-js';
import { Backoff } from '../../backoff.js';
import { FedgateError } from '../../errors.js';
import { Deferred } from '../deferred.js';
import type { TransferOptions } from './types.js';

/** What transfers need of the client they belong to. */
export interface TransferHost {
  /** For calls that move no content. */
  readonly channel: Client;
  /** Connections of their own for content, one for each direction. */
  readonly uploads: Client;
  readonly downloads: Client;
  /** Resolves when the gateway is back. Rejects when it is there and refuses us, or the client is closed. */
  reconnected(error: FedgateError): Promise<void>;
  /** Fires with CANCELLED when the client is closed. */
  readonly ended: AbortSignal;
}

const PATIENCE_MS = 60_000;
const BACKOFF = { firstMs: 100, maxMs: 5_000, factor: 2, random: Math.random };

/** After these the connection itself is looked at. */
const LOST: ReadonlySet<FedgateError['reason']> = new Set([
  'GATEWAY_UNREACHABLE',
  'DRAINING',
  'CANCELLED',
  'OUTCOME_UNKNOWN',
  'TOKEN_EXPIRED',
]);

/** Decides whether a transfer that broke off goes on, and waits until it may. */
export class Patience {
  readonly #host: TransferHost;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #backoff = new Backoff(BACKOFF);
  #troubleSinceMs: number | undefined;

  constructor(host: TransferHost, { patienceMs = PATIENCE_MS, signal }: TransferOptions) {
    this.#host = host;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** Something moved: patience begins anew. */
  moved(): void {
    if (this.#troubleSinceMs === undefined) return;
    this.#troubleSinceMs = undefined;
    this.#backoff.reset();
  }

  /** Resolves when it is time to try again. Throws the error when that would not help, or nothing moved for too long. */
  async wait(error: unknown): Promise<void> {
    this.#throwIfOver();
    if (!(error instanceof FedgateError) || !mayPass(error)) throw error;
    const now = performance.now();
    this.#troubleSinceMs ??= now;
    const leftMs = this.#troubleSinceMs + this.#patienceMs - now;
    if (leftMs <= 0) throw error;
    await this.#pause(Math.min(leftMs, error.retryAfterMs ?? this.#backoff.next())).over;
    if (LOST.has(error.reason)) await this.#reconnected(error, leftMs);
    this.#throwIfOver();
  }

  #throwIfOver(): void {
    throwIfGivenUp(this.#signal);
    throwIfGivenUp(this.#host.ended);
  }

  async #reconnected(error: FedgateError, withinMs: number): Promise<void> {
    const late = this.#pause(withinMs);
    try {
      await Promise.race([this.#host.reconnected(error), late.over]);
    } finally {
      late.end();
    }
  }

  /**
   * Is over early when the transfer is given up, or when it is ended. Until then it keeps the process: while the gateway is gone, nothing
   * else may.
   */
  #pause(ms: number): { readonly over: Promise<void>; end(): void } {
    const signals = [this.#signal, this.#host.ended];
    const { promise: over, resolve } = new Deferred<void>();
    const end = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    for (const signal of signals) signal?.addEventListener('abort', end, { once: true });
    return { over, end };
  }
}

/** Throws CANCELLED. */
export function throwIfGivenUp(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  const { reason } = signal;
  throw reason instanceof FedgateError
    ? reason
    : new FedgateError('CANCELLED', 'the transfer was given up', { cause: reason });
}

/** The gateway or the way to it is gone for now, or it does not answer, or there is too much at once. */
export const mayPass = ({ status, reason }: FedgateError): boolean =>
  reason === 'TOKEN_EXPIRED' ||
  status === 'UNAVAILABLE' ||
  status === 'DEADLINE_EXCEEDED' ||
  reason === 'CANCELLED' ||
  reason === 'LIMIT_REACHED';
