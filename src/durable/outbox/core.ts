import { EventEmitter } from 'node:events';
import { OutboxRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { key } from '../../store/keys.js';
import type { Change, Store } from '../../store/store.js';
import { compare } from '../position.js';
import type { ControlRefused, DeadLetterSink, OutboxEvent, StreamPosition } from '../types.js';
import type { BatchCache } from './cache.js';
import { batchRow, encodeStreamRow, TABLE } from './rows.js';
import type { Seal } from './seal.js';
import { type Gone, receipted, type StreamState, unreceipted } from './state.js';
import { Waiters } from './waiters.js';

export interface OutboxLimits {
  /** The most that may wait for one organisation. */
  readonly outboxBytes: number;
  /** How long, and how much of, what has a receipt is kept: as evidence, and for a receiver whose copy went bad. */
  readonly keepSentMs: number;
  readonly keepSentBytes: number;
}

/** What all outboxes of a gateway share. */
export interface Shared {
  readonly store: Store;
  readonly seal: Seal;
  readonly cache: BatchCache;
  readonly limits: OutboxLimits;
  readonly now: () => number;
  readonly onEvent: (event: OutboxEvent) => void;
  readonly deadLetters: DeadLetterSink | undefined;
  readonly controlRefused: ControlRefused | undefined;
}

/**
 * Where one stream stands, in memory and on the disk.
 *
 * `state` is what the changes handed to the store will make of it, `committed` what they have made of it. Changes are committed in
 * order; when one fails, all that were handed in after it fail too, and `state` goes back to `committed`. Only what is committed is
 * ever sent or acknowledged.
 */
export class OutboxCore {
  readonly org: OrgName;
  readonly shared: Shared;
  readonly received = new Waiters();
  readonly consumed = new Waiters();
  /** What the peer said at the beginning of its lane that it has. */
  peerHas: StreamPosition | undefined;
  /** What was settled at the beginning of the lane on the peer's word, because it has a later epoch. Its receipts may come yet. */
  passed: { readonly from: StreamPosition; readonly to: StreamPosition } | undefined;
  /** The last position that the lane was given. */
  handed: StreamPosition | undefined;
  /** Whether a lane is reading at the moment. */
  reading = false;
  /** When the first batch that waits was stored; 0: none waits, or it is not known yet. */
  oldestMs = 0;
  /** Receipts that were found right and are on their way to the disk. */
  settling: { readonly acked: StreamPosition; readonly gone: Gone } | undefined;
  /** Counts what made batches that were read from the disk differ from what is there now. */
  rewritten = 0;
  #state: StreamState;
  #committed: StreamState;
  #failures = 0;
  #last: Promise<unknown> = Promise.resolve();
  readonly #changes = new EventEmitter().setMaxListeners(0);

  constructor(org: OrgName, shared: Shared, state: StreamState) {
    this.org = org;
    this.shared = shared;
    this.#state = state;
    this.#committed = state;
  }

  get state(): StreamState {
    return this.#state;
  }

  get committed(): StreamState {
    return this.#committed;
  }

  /** What is committed, with the receipts that are on their way to the disk: what those who publish are told. */
  get heard(): StreamState {
    const { settling } = this;
    return settling ? receipted(this.#committed, settling.acked, settling.gone) : this.#committed;
  }

  /** Whether a batch was given to a lane, or the peer said that it has it. Its receipt may still be on the way, or to the disk. */
  wasSent(position: StreamPosition): boolean {
    return [this.handed, this.peerHas].some(sent => sent !== undefined && compare(position, sent) <= 0);
  }

  /**
   * Hands a change to the store that makes the stream what `state` says. `committed` runs as soon as it does, before any reader hears of it.
   * `patient`: as of the store.
   */
  async commit(
    change: Change,
    state: StreamState,
    { committed, patient = false }: { readonly committed?: () => void; readonly patient?: boolean } = {},
  ): Promise<void> {
    change.put(TABLE.stream, key(this.org), encodeStreamRow(state));
    this.#state = state;
    const failures = this.#failures;
    try {
      await this.shared.store.commit(change, { patient });
    } catch (error) {
      // The first that fails speaks for all that were under way.
      if (failures === this.#failures) {
        this.#failures++;
        this.#state = this.#committed;
      }
      throw error;
    }
    this.#committed = state;
    committed?.();
    this.#changes.emit('change');
  }

  /** Runs one task after the other: those that read rows before they change them must not come between each other. */
  serially<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Finds out when the first batch that waits was stored. */
  async readOldest(): Promise<void> {
    const { committed, org } = this;
    const row = await batchRow(this.shared.store, org, unreceipted(committed));
    if (this.#committed !== committed) return;
    this.oldestMs = row && !row.damaged ? Number(OutboxRow.decode(row.value).storedMs) : 0;
  }

  /** Runs the listener after each commit. */
  onChange(listener: () => void): () => void {
    this.#changes.on('change', listener);
    return () => this.#changes.off('change', listener);
  }

  /** Resolves with the next change, or when the signal fires. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#changes.off('change', done);
        resolve();
      };
      if (signal.aborted) return resolve();
      signal.addEventListener('abort', done, { once: true });
      this.#changes.on('change', done);
    });
  }

  close(): void {
    const error = new FedgateError('DRAINING', 'the gateway is about to stop');
    this.received.rejectAll(error);
    this.consumed.rejectAll(error);
  }
}
