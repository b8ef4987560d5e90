import { randomBytes, randomInt } from 'node:crypto';
import { type OrgName, parseOrgName } from '../../identity/names.js';
import { key } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import { Admission, IdempotencyTable } from '../idempotency.js';
import type { ControlRefused, DeadLetterSink, ManagedOutbox, OutboxEvent, StreamPosition } from '../types.js';
import { BatchCache } from './cache.js';
import type { OutboxLimits, Shared } from './core.js';
import { DurableOutbox } from './outbox.js';
import { decodeStreamRow, encodeStreamRow, positionOf, TABLE } from './rows.js';
import { Seal, type SealOptions } from './seal.js';
import { beginEpoch, drawEpoch, newest, newState, type StreamState } from './state.js';

export interface OutboxesOptions extends SealOptions {
  readonly store: Store;
  readonly limits: OutboxLimits;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Hears what the operator should see. */
  readonly onEvent?: (event: OutboxEvent) => void;
  readonly deadLetters?: DeadLetterSink;
  readonly controlRefused?: ControlRefused | undefined;
  /** A number below 2^20. @default random */
  readonly random20?: () => number;
  /** @default CACHE_BYTES */
  readonly cacheBytes?: number;
}

/** How often what expired is withheld and what was kept long enough is forgotten, milliseconds. */
const SWEEP_MS = 1_000;
/** How often ids and producers that are too old are forgotten, in sweeps. */
const PRUNE_SWEEPS = 60;
const STEP_ROWS = 1_000;

/** The outboxes of a gateway: one per organisation that anything was ever published to. */
export class Outboxes {
  readonly #options: OutboxesOptions;
  readonly #shared: Shared;
  readonly #idempotency: IdempotencyTable;
  readonly #instance = randomBytes(8);
  readonly #outboxes = new Map<OrgName, DurableOutbox>();
  readonly #listeners = new Set<(org: OrgName) => void>();
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> | undefined;
  #sweeps = 0;

  private constructor(options: OutboxesOptions, idempotency: IdempotencyTable) {
    const { store, limits, now, onEvent = () => undefined, deadLetters, controlRefused } = options;
    this.#options = options;
    this.#idempotency = idempotency;
    const seal = new Seal(options);
    const cache = new BatchCache(options.cacheBytes);
    this.#shared = { store, seal, cache, limits, now, onEvent, deadLetters, controlRefused };
    this.#timer = setInterval(() => {
      this.sweep().catch(error => onEvent({ kind: 'failed', org: options.self.org as OrgName, error }));
    }, SWEEP_MS);
    this.#timer.unref();
  }

  /** Reads one row per organisation, however much waits. Rejects with STORE_*. */
  static async open(options: OutboxesOptions): Promise<Outboxes> {
    const { store, now } = options;
    const outboxes = new Outboxes(options, await IdempotencyTable.open({ store, scope: 'outbox', now }));
    try {
      await outboxes.#load();
    } catch (error) {
      outboxes.close();
      throw error;
    }
    return outboxes;
  }

  /** The outbox of an organisation; made when it is not there yet. */
  of(org: OrgName): ManagedOutbox {
    return this.#outboxes.get(org) ?? this.#add(org, this.#newState());
  }

  /** By name. */
  all(): ManagedOutbox[] {
    return [...this.#outboxes.values()].sort((a, b) => (a.org < b.org ? -1 : 1));
  }

  /** Hears of an organisation each time something was stored that waits for it. Returns the way to stop that. */
  onWaiting(listener: (org: OrgName) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Withholds what expired, forgets what was kept long enough. Runs by itself once a second. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  /** Ends what waits. The store is the caller's to close. */
  close(): void {
    clearInterval(this.#timer);
    for (const outbox of this.#outboxes.values()) outbox.close();
  }

  async #load(): Promise<void> {
    const { store } = this.#options;
    for (let from = Buffer.alloc(0); ; ) {
      const rows = await store.scan(TABLE.stream, { from, limit: STEP_ROWS });
      for (const { key: rowKey, value } of rows) {
        const org = parseOrgName(rowKey.subarray(0, -1).toString(), 'org');
        const outbox = this.#add(org, await this.#continued(org, decodeStreamRow(value)));
        await outbox.readOldest();
        outbox.sendControl(true);
      }
      const last = rows.at(-1);
      if (rows.length < STEP_ROWS || !last) return;
      from = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  /** In a restored backup the numbers that were given since are unknown: none of the old epoch is given any more. */
  async #continued(org: OrgName, state: StreamState): Promise<StreamState> {
    const { store } = this.#options;
    if (state.storeId.equals(store.id)) return state;
    const epoch = this.#drawEpoch(newest(state).epoch);
    const begun = beginEpoch(state, epoch, store.id);
    await store.commit(new Change().put(TABLE.stream, key(org), encodeStreamRow(begun)));
    this.#shared.onEvent({ kind: 'epoch', org, epoch, why: 'the store was restored from a backup' });
    return begun;
  }

  #newState(): StreamState {
    return newState(this.#drawEpoch(0n), this.#options.store.id);
  }

  #drawEpoch(above: bigint): bigint {
    const { now, random20 = () => randomInt(2 ** 20) } = this.#options;
    return drawEpoch(now(), random20(), above);
  }

  #add(org: OrgName, state: StreamState): DurableOutbox {
    const { random20 = () => randomInt(2 ** 20) } = this.#options;
    const admission = new Admission(this.#idempotency);
    const outbox = new DurableOutbox(org, state, {
      shared: this.#shared,
      admission,
      instance: this.#instance,
      random20,
    });
    outbox.onChange(() => {
      if (outbox.waiting.batches > 0) for (const listener of this.#listeners) listener(org);
    });
    this.#outboxes.set(org, outbox);
    return outbox;
  }

  async #sweep(): Promise<void> {
    while (await this.#expire()) {
      // One piece after the other.
    }
    for (const outbox of this.#outboxes.values()) {
      while (await outbox.trim()) {
        // As above.
      }
      outbox.sendControl(false);
    }
    if (++this.#sweeps % PRUNE_SWEEPS === 0) await this.#idempotency.prune();
  }

  async #expire(): Promise<boolean> {
    const { store, now } = this.#options;
    const rows = await store.scan(TABLE.expiry, { to: key(now() + 1), limit: STEP_ROWS });
    const byOrg = new Map<OrgName, { readonly positions: StreamPosition[]; readonly change: Change }>();
    for (const row of rows) {
      const org = row.key.subarray(8, -17).toString() as OrgName;
      const due = byOrg.get(org) ?? { positions: [], change: new Change() };
      byOrg.set(org, due);
      due.positions.push(positionOf(row.key));
      due.change.remove(TABLE.expiry, row.key);
    }
    for (const [org, { positions, change }] of byOrg) {
      const outbox = this.#outboxes.get(org);
      if (outbox) await outbox.expire(positions, change);
      else await store.commit(change);
    }
    return rows.length === STEP_ROWS;
  }
}
