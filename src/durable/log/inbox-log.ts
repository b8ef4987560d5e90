import type { FedgateError } from '../../errors.js';
import type { OrgName } from '../../identity/names.js';
import type { Pattern } from '../../messaging/address.js';
import type { Change, Store } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import { IdempotencyTable } from '../idempotency.js';
import type {
  Inbox,
  Log,
  LogEntry,
  OutgoingRecords,
  ReceivedDurable,
  RememberedBatch,
  StreamId,
  StreamPosition,
} from '../types.js';
import { type Channel, Channels, type RetentionRule } from './channels.js';
import type { HeldEntry } from './entry.js';
import { type HoldLimits, Holds } from './holds.js';
import type { Damaged } from './index-row.js';
import { LocalPublishes } from './local-publishes.js';
import { MissingRows } from './missing-rows.js';
import { type AskOrigin, Quarantine, type QuarantineEvent } from './quarantine.js';
import { LogReader } from './reader.js';
import { Receiver } from './receiver.js';
import { Recent } from './recent.js';
import { Retention } from './retention.js';
import { Streams } from './streams.js';
import { findEnd, LogWriter } from './writer.js';

export type InboxLogEvent =
  | QuarantineEvent
  /** Batches that this store forgot when it was restored, and that the peer does not send again. */
  | {
      readonly kind: 'skipped';
      readonly from: StreamId;
      readonly after: StreamPosition | undefined;
      readonly to: StreamPosition;
    }
  /** A row is not what was written. One of the index of a channel is rebuilt; one of the log is a gap. Told once per start. */
  | { readonly kind: 'damaged'; readonly row: 'log' | 'log-channel'; readonly channel: string; readonly offset: number }
  /** Work in the background failed. It is tried again. */
  | { readonly kind: 'failed'; readonly what: 'trim' | 'count' | 'forget'; readonly error: unknown };

export interface InboxLogOptions {
  readonly store: Store;
  readonly ownOrg: OrgName;
  readonly limits: HoldLimits;
  /** The first that matches a channel counts. */
  readonly retention: readonly RetentionRule[];
  readonly now: () => number;
  /** Undefined: no origin can be asked, and what goes bad is lost. */
  readonly refetch?: AskOrigin | undefined;
  readonly onEvent: (event: InboxLogEvent) => void;
}

/** Retention looks at the clock so often; ids are forgotten at every sixtieth look. */
const TICK_MS = 1_000;
const TICKS_PER_PRUNE = 60;
/** Damaged rows that are told once; more are told again when they are met again. */
const MAX_TOLD = 4_096;

/**
 * The log of an organisation: what arrived from others and what its own nodes published durably, in one order. Whatever it tells is on
 * stable storage.
 */
export class InboxLog implements Inbox, Log {
  readonly #store: Store;
  readonly #options: InboxLogOptions;
  readonly #bounds: { first: number; end: number };
  readonly #streams: Streams;
  readonly #recent: Recent;
  readonly #reader: LogReader;
  readonly #holds: Holds;
  readonly #receiver: Receiver;
  readonly #quarantine: Quarantine;
  readonly #retention: Retention;
  readonly #publishes: LocalPublishes;
  readonly #idempotency: IdempotencyTable;
  readonly #appendListeners = new Set<(entry: LogEntry) => void>();
  readonly #roomListeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #offHealth: () => void;
  #timer: NodeJS.Timeout | undefined;
  #ticks = 0;
  #pruning: Promise<void> | undefined;

  private constructor(
    options: InboxLogOptions,
    channels: Channels,
    streams: Streams,
    idempotency: IdempotencyTable,
    end: { readonly first: number; readonly end: number; readonly storedMs: number },
    damaged: Damaged,
  ) {
    const { store, limits, now, refetch, onEvent } = options;
    this.#store = store;
    this.#options = options;
    this.#streams = streams;
    this.#idempotency = idempotency;
    this.#bounds = { first: end.first, end: end.end };
    this.#recent = new Recent(end.end);
    const bounds = this.#bounds;
    const recent = this.#recent;
    const missing = new MissingRows(store, damaged);
    this.#reader = new LogReader({ store, channels, recent, bounds, damaged, missing });
    this.#holds = new Holds({
      limits,
      channels,
      reader: this.#reader,
      bounds,
      changed: () => this.#roomChanged(),
      problem: error => onEvent({ kind: 'failed', what: 'count', error }),
    });
    const holds = this.#holds;
    const writer = new LogWriter({
      store,
      channels,
      holds,
      recent,
      bounds,
      storedMs: end.storedMs,
      now,
      appended: (entry, channel) => this.#appended(entry, channel),
      reset: () => streams.reset(),
    });
    this.#receiver = new Receiver(writer, streams);
    const quarantine = new Quarantine({ store, channels, recent, refetch, onEvent });
    this.#quarantine = quarantine;
    this.#retention = new Retention({
      store,
      channels,
      holds,
      writer,
      quarantine,
      recent,
      bounds,
      now,
      damaged,
      missing,
    });
    this.#publishes = new LocalPublishes({ ownOrg: options.ownOrg, writer, holds, channels, idempotency, now });
    this.#offHealth = store.onHealth(() => this.#roomChanged());
  }

  static async open(options: InboxLogOptions): Promise<InboxLog> {
    const { store, now } = options;
    const damaged = toldOnce(options.onEvent);
    const channels = await Channels.open(store, options.retention, damaged);
    const streams = await Streams.open(store);
    const idempotency = await IdempotencyTable.open({ store, scope: 'log', now });
    const end = await findEnd(store, channels, damaged);
    return new InboxLog(options, channels, streams, idempotency, end, damaged);
  }

  /**
   * Retention begins. To be called once every durable subscription has said what it holds: before, the log cannot know what is needed and
   * removes nothing.
   */
  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref();
  }

  get first(): number {
    return this.#bounds.first;
  }

  get end(): number {
    return this.#bounds.end;
  }

  /** Entries whose records went bad on the disk, those that came again, and those that are lost, since the start. */
  get counters(): { readonly quarantined: number; readonly mended: number; readonly lost: number } {
    const { quarantined, mended, lost } = this.#quarantine;
    return { quarantined, mended, lost };
  }

  watermark(from: StreamId): StreamPosition | undefined {
    return this.#streams.watermark(from);
  }

  receive(batch: ReceivedDurable, extra?: (change: Change) => unknown): Promise<void> {
    return this.#receiver.receive(batch, extra);
  }

  async skip(from: StreamId, to: StreamPosition): Promise<void> {
    const after = this.#streams.watermark(from);
    if (await this.#receiver.skip(from, to)) this.#options.onEvent({ kind: 'skipped', from, after, to });
  }

  remembered(
    from: StreamId,
    epoch: bigint,
    first: number,
    last: number,
  ): Promise<readonly (RememberedBatch | undefined)[]> {
    return this.#streams.remembered(from, epoch, first, last);
  }

  confirmed(from: StreamId, position: StreamPosition): void {
    this.#streams.confirmed(from, position);
  }

  room(from: StreamId): number {
    return this.#store.health.state === 'ok' ? this.#holds.room(from.org) : 0;
  }

  /** Bytes of an organisation that durable subscriptions have not passed. */
  heldBytes(org: string): number {
    return this.#holds.heldOf(org);
  }

  onRoom(listener: () => void): () => void {
    this.#roomListeners.add(listener);
    return () => this.#roomListeners.delete(listener);
  }

  append(records: OutgoingRecords): Promise<{ readonly offset: number; readonly duplicate: boolean }> {
    return this.#publishes.append(records);
  }

  read(
    from: number,
    pattern: Pattern,
    limit: number,
  ): Promise<{ readonly entries: readonly LogEntry[]; readonly next: number }> {
    return this.#reader.read(from, pattern, limit);
  }

  async records(entry: LogEntry, signal?: AbortSignal): Promise<RecordBlock | undefined> {
    if (entry.gap) return undefined;
    const recent = this.#recent.records(entry.offset);
    if (recent) return recent;
    const { body, contentSha256 } = isHeld(entry) ? entry : await this.#find(entry);
    if (!body) return undefined;
    try {
      return { bytes: await this.#store.read(body, contentSha256), count: entry.count };
    } catch (error) {
      if ((error as FedgateError).reason !== 'BODY_UNREADABLE') throw error;
      const { signal: stop } = this.#stop;
      return this.#quarantine.recover(entry.offset, error, signal ? AbortSignal.any([signal, stop]) : stop);
    }
  }

  offsetAt(timeMs: number): Promise<number> {
    return this.#reader.offsetAt(timeMs);
  }

  onAppended(listener: (entry: LogEntry) => void): () => void {
    this.#appendListeners.add(listener);
    return () => this.#appendListeners.delete(listener);
  }

  hold(subscription: string, pattern: Pattern, from: number): void {
    this.#holds.hold(subscription, pattern, from);
  }

  release(subscription: string): void {
    this.#holds.release(subscription);
  }

  /** Removes what retention lets go of now. Otherwise that happens by itself, within a second. Rejects as `commit` does. */
  async trim(): Promise<void> {
    await this.#holds.settled();
    await this.#retention.trimAll();
  }

  /** Resolves when nothing works in the background any more. What is being stored is up to its callers. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    this.#offHealth();
    await this.#holds.close();
    await this.#retention.close();
    await this.#pruning;
  }

  async #find(entry: LogEntry): Promise<Pick<HeldEntry, 'body' | 'contentSha256'>> {
    const found = await this.#reader.get(entry.offset);
    return found ?? { body: undefined, contentSha256: Buffer.alloc(0) };
  }

  #appended(entry: LogEntry, channel: Channel): void {
    for (const listener of this.#appendListeners) listener(entry);
    if (this.#timer && this.#retention.isDue(channel)) this.#background('trim', this.#retention.trim(channel));
  }

  #roomChanged(): void {
    for (const listener of this.#roomListeners) listener();
  }

  #tick(): void {
    this.#background('trim', this.#retention.trimAll());
    if (++this.#ticks % TICKS_PER_PRUNE !== 0) return;
    this.#pruning = this.#idempotency.prune().catch(error => this.#failed('forget', error));
  }

  #background(what: 'trim', work: Promise<void>): void {
    work.catch(error => this.#failed(what, error));
  }

  #failed(what: 'trim' | 'forget', error: unknown): void {
    this.#options.onEvent({ kind: 'failed', what, error });
  }
}

/** A damaged row is met again and again while it is there. */
function toldOnce(onEvent: (event: InboxLogEvent) => void): Damaged {
  const told = new Set<string>();
  return (row, channel, offset) => {
    const name = `${row} ${channel} ${offset}`;
    if (told.has(name)) return;
    if (told.size === MAX_TOLD) told.clear();
    told.add(name);
    onEvent({ kind: 'damaged', row, channel, offset });
  };
}

const isHeld = (entry: LogEntry): entry is HeldEntry => 'contentSha256' in entry;
