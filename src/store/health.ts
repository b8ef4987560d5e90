import { statfs } from 'node:fs/promises';
import { FedgateError } from '../errors.js';
import { RETRY_MS } from './failures.js';
import type { StoreHealth } from './store.js';

const OK: StoreHealth = { state: 'ok', problem: '' };

/** How old a look at the free space may be, milliseconds and bytes written since: a full disk is noticed before the reserve is used up. */
const LOOK_MS = 100;
const LOOK_BYTES = 4 * 1024 * 1024;

export interface HealthOptions {
  readonly folder: string;
  /** Free space that is kept for rows. */
  readonly reserveBytes: number;
  /** Tries whether the disk takes writes; throws what it says. */
  readonly probe: () => Promise<void>;
}

/** Whether the disk can be written to. While it cannot, it is tried about once a second until it can. */
export class HealthWatch {
  readonly #options: HealthOptions;
  readonly #listeners = new Set<(health: StoreHealth) => void>();
  #health = OK;
  #timer: NodeJS.Timeout | undefined;
  #trying: Promise<void> | undefined;
  #closed = false;
  #freeBytes = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #writtenSince = 0;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  get health(): StoreHealth {
    return this.#health;
  }

  onHealth(listener: (health: StoreHealth) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks whether the reserve is free. When it is not, that is how it begins. */
  async begin(): Promise<void> {
    try {
      await this.admit(0);
    } catch (error) {
      if (!(error instanceof FedgateError)) throw error;
      this.failed(error);
    }
  }

  /** Throws STORE_FULL when so many bytes of bodies do not fit without touching the reserve. */
  async admit(bytes: number): Promise<void> {
    const { reserveBytes } = this.#options;
    const fresh = performance.now() - this.#lookedMs < LOOK_MS && this.#writtenSince < LOOK_BYTES;
    if (!fresh || this.#freeBytes - this.#writtenSince - bytes < reserveBytes) await this.#look();
    this.#writtenSince += bytes;
    const left = this.#freeBytes - this.#writtenSince;
    if (left < reserveBytes) {
      throw new FedgateError('STORE_FULL', `the disk is full: ${this.#freeBytes} bytes are free`, {
        metadata: { free_bytes: String(this.#freeBytes), reserve_bytes: String(reserveBytes) },
        retryAfterMs: RETRY_MS,
      });
    }
  }

  /** Takes note of a failure, and tries from now on until it is over. */
  failed(error: FedgateError): void {
    this.#set({ state: error.reason === 'STORE_FULL' ? 'full' : 'failed', problem: error.message });
    this.#schedule();
  }

  /** A write with bodies went through. */
  succeeded(): void {
    if (this.#health.state !== 'ok') this.#set(OK);
  }

  /** Resolves when no probe is under way and none will come. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
    await this.#trying;
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#options.folder);
    return bavail * bsize;
  }

  async #look(): Promise<void> {
    this.#freeBytes = await this.freeBytes();
    this.#lookedMs = performance.now();
    this.#writtenSince = 0;
  }

  #set(health: StoreHealth): void {
    const changed = health.state !== this.#health.state;
    this.#health = health;
    if (!changed) return;
    for (const listener of [...this.#listeners]) listener(health);
  }

  #schedule(): void {
    if (this.#timer || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#trying = this.#try();
    }, RETRY_MS).unref();
  }

  async #try(): Promise<void> {
    try {
      await this.#options.probe();
      this.succeeded();
    } catch {
      // It goes on as it is; the failure that began it has been told.
    }
    this.#timer = undefined;
    if (this.#health.state !== 'ok') this.#schedule();
  }
}
