import { StreamNotice } from '../../../gen/ts/fedgate/federation/v1/federation_service.js';
import { OutboxRow, OutcomeRow } from '../../../gen/ts/fedgate/store/v1/outbox.js';
import { FedgateError, isReason } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import { Change } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import { APPROVALS_CHANNEL, type ControlChannel, NOTICES_CHANNEL, REQUESTS_CHANNEL } from '../control.js';
import type { Admission } from '../idempotency.js';
import { compare } from '../position.js';
import { judgeWatermark } from '../resume.js';
import type {
  ManagedOutbox,
  OutgoingRecords,
  SealedDurable,
  SentBatch,
  Stored,
  StreamPosition,
  VerifiedReceipt,
} from '../types.js';
import { Appender } from './appender.js';
import { Control } from './control.js';
import { OutboxCore, type Shared } from './core.js';
import { Keeper, withheldError } from './keeper.js';
import { Reader } from './reader.js';
import { batchRow, positionKey, sentBatchOf, sizeOf, TABLE, withheldOf } from './rows.js';
import { Settler } from './settler.js';
import { drawEpoch, following, newest, receipted, type StreamState, unreceipted } from './state.js';

/** How far a peer's clock may be ahead of ours when its word makes us draw an epoch: it must not use up the numbers there are. */
const MAX_EPOCH_LEAD_MS = 366 * 86_400_000;

export interface OutboxParts {
  readonly shared: Shared;
  readonly admission: Admission;
  /** 8 bytes of this process. */
  readonly instance: Buffer;
  readonly random20: () => number;
}

/** The outbox of one organisation: its parts, and what is too small to be one. */
export class DurableOutbox implements ManagedOutbox {
  readonly org: OrgName;
  readonly #core: OutboxCore;
  readonly #appender: Appender;
  readonly #keeper: Keeper;
  readonly #reader: Reader;
  readonly #settler: Settler;
  readonly #control: { readonly [channel in ControlChannel]: Control };
  readonly #random20: () => number;

  constructor(org: OrgName, state: StreamState, { shared, admission, instance, random20 }: OutboxParts) {
    this.org = org;
    this.#random20 = random20;
    this.#core = new OutboxCore(org, shared, state);
    this.#appender = new Appender(this.#core, admission);
    this.#keeper = new Keeper(this.#core);
    this.#reader = new Reader(this.#core, this.#keeper);
    this.#settler = new Settler(this.#core, this.#reader);
    const control = (channel: ControlChannel) => new Control(channel, this.#core, this.#appender, instance);
    this.#control = {
      [NOTICES_CHANNEL]: control(NOTICES_CHANNEL),
      [APPROVALS_CHANNEL]: control(APPROVALS_CHANNEL),
      [REQUESTS_CHANNEL]: control(REQUESTS_CHANNEL),
    };
  }

  get unreceipted(): StreamPosition {
    return unreceipted(this.#core.committed);
  }

  get receipted(): StreamPosition | undefined {
    return this.#core.committed.acked;
  }

  get newestEpoch(): bigint {
    return newest(this.#core.committed).epoch;
  }

  get next(): StreamPosition {
    const { epoch, next: sequence } = newest(this.#core.committed);
    return { epoch, sequence };
  }

  get paused(): boolean {
    return this.#core.committed.paused;
  }

  get maxBytes(): number {
    return this.#core.shared.limits.outboxBytes;
  }

  get waiting(): ManagedOutbox['waiting'] {
    const { batches, records, bytes } = this.#core.heard;
    return { batches, records, bytes, oldestMs: batches === 0 ? 0 : this.#core.oldestMs };
  }

  append(records: OutgoingRecords): Promise<Stored> {
    return this.#appender.append(records);
  }

  appendNotice(change: Change, notice: StreamNotice): void {
    this.appendControl(change, NOTICES_CHANNEL, StreamNotice.encode(notice).finish());
  }

  appendControl(change: Change, channel: ControlChannel, payload: Uint8Array): void {
    this.#control[channel].append(change, payload);
  }

  received(position: StreamPosition, signal: AbortSignal): Promise<void> {
    const { shared, received } = this.#core;
    // What is still at hand was neither received nor withheld: whoever publishes and waits need not ask the disk.
    if (shared.cache.get(this.org, position)) return received.wait(position, signal);
    return this.#await(position, signal, 'received');
  }

  consumed(position: StreamPosition, signal: AbortSignal): Promise<void> {
    return this.#await(position, signal, 'consumed');
  }

  read(from: StreamPosition, signal: AbortSignal): AsyncIterable<SealedDurable> {
    return this.#reader.read(from, signal);
  }

  settle(receipt: VerifiedReceipt): Promise<void> {
    return this.#settler.settle(receipt);
  }

  async resume(received: StreamPosition | undefined, peerStoreId: Buffer): Promise<StreamPosition> {
    return this.#core.serially(async () => {
      const { store } = this.#core.shared;
      const decision = judgeWatermark(this.#core.state, store.restoredMs > 0, received, peerStoreId);
      if (decision.kind === 'refuse') throw watermarkInvalid(this.org, decision.why);
      if (decision.kind === 'raise') return this.#raise(decision.above, peerStoreId);
      const { had, peerRestored } = decision;
      if (peerRestored) this.#core.shared.onEvent({ kind: 'peer-restored', org: this.org, received });
      // A restored peer is known by its old id until it has caught up: it may die again before it has.
      await this.#took(had, peerRestored ? this.#core.state.peerStoreId : peerStoreId);
      const start = unreceipted(this.#core.committed);
      if (!had || compare(had, start) < 0) return start;
      return following(this.#core.committed, { epoch: had.epoch, sequence: had.sequence + 1 });
    });
  }

  async refetch(position: StreamPosition): Promise<RecordBlock | undefined> {
    return this.#reader.records(position);
  }

  noticed({ event }: StreamNotice, change: Change): () => void {
    if (!event) return () => undefined;
    const position = { epoch: event.value.streamEpoch, sequence: Number(event.value.sequence) };
    const { acked } = this.#core.state;
    // A peer that speaks of what was never sent to it is not believed: it could fill the disk with such rows. Receipts wait for rows and
    // for the disk, so a notice may well be here before the receipt is stored.
    const isKnown = (acked && compare(position, acked) <= 0) || this.#core.wasSent(position);
    if (!isKnown) return () => undefined;
    const { consumed } = this.#core;
    if (event.$case === 'consumed') {
      change.put(TABLE.outcome, positionKey(this.org, position), Buffer.alloc(0));
      return () => consumed.resolve(position);
    }
    const error = new FedgateError('DEAD_LETTERED', event.value.reason || 'the other organisation gave records up', {
      metadata: { org: this.org },
    });
    const outcome = { reason: error.reason, message: error.message };
    change.put(TABLE.outcome, positionKey(this.org, position), Buffer.from(OutcomeRow.encode(outcome).finish()));
    this.#core.shared.deadLetters?.gaveUp(change, this.org, event.value);
    return () => consumed.reject(position, error);
  }

  async head(limit: number): Promise<readonly SentBatch[]> {
    const { heard, shared } = this.#core;
    const from = positionKey(this.org, unreceipted(heard));
    const to = positionKey(this.org, this.next);
    const rows = await shared.store.scan(TABLE.batch, { from, to, limit });
    return rows.map(row => sentBatchOf(this.org, row));
  }

  setPaused(paused: boolean): Promise<void> {
    return this.#core.serially(() => this.#core.commit(new Change(), { ...this.#core.state, paused }));
  }

  purge(): Promise<{ readonly batches: number; readonly records: number }> {
    return this.#keeper.purge();
  }

  /** Withholds batches whose time is over, with more in the same change. @internal */
  expire(positions: readonly StreamPosition[], more: Change): Promise<void> {
    return this.#keeper.withhold(positions, 'expired', more);
  }

  /** Forgets a piece of what was kept long enough. Resolves with whether there is more. @internal */
  trim(): Promise<boolean> {
    return this.#keeper.trim();
  }

  /** Sends what a restart or a failing disk left behind of the reserved channels. @internal */
  sendControl(always: boolean): void {
    for (const control of Object.values(this.#control)) {
      if (always) control.kick();
      else control.retry();
    }
  }

  /** @internal */
  onChange(listener: () => void): () => void {
    return this.#core.onChange(listener);
  }

  /** @internal */
  readOldest(): Promise<void> {
    return this.#core.readOldest();
  }

  /** @internal */
  close(): void {
    this.#appender.close(new FedgateError('DRAINING', 'the gateway is about to stop'));
    this.#core.close();
  }

  /** What the peer has of epochs that are over counts as received: it took a later one only after the last of these. */
  async #took(had: StreamPosition | undefined, peerStoreId: Buffer): Promise<void> {
    const older = had ? await this.#olderThan(had.epoch) : undefined;
    const { state } = this.#core;
    this.#core.passed = older && { from: unreceipted(state), to: older.acked };
    if (older || !state.peerStoreId.equals(peerStoreId)) {
      const settled = older ? receipted(state, older.acked, older.gone) : state;
      await this.#core.commit(new Change(), { ...settled, peerStoreId: Buffer.from(peerStoreId) });
    }
    this.#core.peerHas = had;
  }

  async #olderThan(
    epoch: bigint,
  ): Promise<{ acked: StreamPosition; gone: { batches: number; records: number; bytes: number } } | undefined> {
    const { state, shared } = this.#core;
    const last = state.epochs.findLast(known => known.epoch < epoch && known.next > 1);
    if (!last) return undefined;
    const acked = { epoch: last.epoch, sequence: last.next - 1 };
    const gone = { batches: 0, records: 0, bytes: 0 };
    const to = positionKey(this.org, { epoch: acked.epoch, sequence: last.next });
    for (let from = positionKey(this.org, unreceipted(state)); from.compare(to) < 0; ) {
      const rows = await shared.store.scan(TABLE.batch, { from, to, limit: 1_000 });
      for (const row of rows) {
        gone.batches++;
        if (row.damaged) continue;
        const size = sizeOf(OutboxRow.decode(row.value));
        gone.records += size.records;
        gone.bytes += size.bytes;
      }
      const end = rows.at(-1);
      if (!end) break;
      from = Buffer.concat([end.key, Buffer.alloc(1)]);
    }
    return { acked, gone };
  }

  async #raise(above: bigint, peerStoreId: Buffer): Promise<StreamPosition> {
    const { shared } = this.#core;
    const epoch = drawEpoch(shared.now(), this.#random20(), above);
    if (epoch > drawEpoch(shared.now() + MAX_EPOCH_LEAD_MS, 0))
      throw watermarkInvalid(this.org, `it says that it has epoch ${above}, which nobody can have drawn yet`);
    await this.#appender.suspended(async () => {
      const change = new Change();
      const state = await this.#keeper.renumber(epoch, change);
      await this.#core.commit(change, { ...state, peerStoreId: Buffer.from(peerStoreId) });
      this.#core.rewritten++;
    });
    shared.onEvent({ kind: 'epoch', org: this.org, epoch, why: `the peer knows epoch ${above}` });
    this.#core.peerHas = undefined;
    return unreceipted(this.#core.committed);
  }

  async #await(position: StreamPosition, signal: AbortSignal, what: 'received' | 'consumed'): Promise<void> {
    const settled = new AbortController();
    // First in line, then look: nothing can happen unseen in between.
    const waited = this.#core[what].wait(position, AbortSignal.any([signal, settled.signal]));
    waited.catch(() => undefined);
    const known = await this.#known(position, what).catch(error => ({ error }));
    if (!known) return waited;
    settled.abort();
    if (known.error) throw known.error;
  }

  /** What the rows say of a batch. Undefined: nothing yet. */
  async #known(
    position: StreamPosition,
    what: 'received' | 'consumed',
  ): Promise<{ readonly error: unknown } | undefined> {
    const { store } = this.#core.shared;
    const rowKey = positionKey(this.org, position);
    const outcome = await store.get(TABLE.outcome, rowKey);
    const reason = outcome ? OutcomeRow.decode(outcome) : undefined;
    if (reason && isReason(reason.reason) && (what === 'consumed' || reason.reason !== 'DEAD_LETTERED'))
      return { error: new FedgateError(reason.reason, reason.message, { metadata: { org: this.org } }) };
    // One that is damaged is yet to be withheld, or has its receipt.
    const row = await batchRow(store, this.org, position);
    const withheld = row && !row.damaged && withheldOf(OutboxRow.decode(row.value));
    if (withheld) return { error: withheldError(this.org, withheld) };
    const { acked } = this.#core.committed;
    const isReceived = acked !== undefined && compare(position, acked) <= 0;
    return (what === 'consumed' ? reason !== undefined : isReceived) ? { error: undefined } : undefined;
  }
}

const watermarkInvalid = (org: OrgName, why: string): FedgateError =>
  new FedgateError('WATERMARK_INVALID', `${org} claims what cannot be: ${why}`, { metadata: { org } });
