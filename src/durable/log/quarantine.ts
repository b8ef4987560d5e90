import { setTimeout as delay } from 'node:timers/promises';
import { LogChannelRow } from '../../../gen/ts/fedgate/store/v1/log.js';
import { FedgateError } from '../../errors.js';
import { sha256 } from '../../sha256.js';
import { key } from '../../store/keys.js';
import { Change, type Store } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import type { LogEntry, StreamId, StreamPosition } from '../types.js';
import type { Channels } from './channels.js';
import { decodeEntry, decodeProof, encodeEntry, type HeldEntry } from './entry.js';
import { channelKey } from './index-row.js';
import type { Recent } from './recent.js';
import { LOG, LOG_CHANNEL } from './tables.js';

/**
 * Asks the origin of a batch for its records. Undefined: it does not have them any more, or is no member any more. Rejects while it
 * cannot be reached.
 */
export type AskOrigin = (from: StreamId, position: StreamPosition) => Promise<RecordBlock | undefined>;

export type QuarantineEvent =
  /** Records on the disk are not what was written. They are asked for again. */
  | { readonly kind: 'quarantined'; readonly entry: LogEntry; readonly error: unknown }
  /** They came again, and are on the disk again. */
  | { readonly kind: 'mended'; readonly entry: LogEntry }
  /** They came again, and could not be written. The next reader tries again. */
  | { readonly kind: 'unmended'; readonly entry: LogEntry; readonly error: unknown }
  /** They are lost for good. */
  | { readonly kind: 'lost'; readonly entry: LogEntry; readonly reason: string };

/** How often an origin that cannot be reached is asked: soon at first, and within 3 s of its return. */
const RETRY_MS = [100, 300, 1_000, 2_000] as const;

/** More bad entries than this are reported again when somebody reads them again. */
const MAX_KNOWN = 4_096;

type Finding = { readonly records: RecordBlock | undefined } | 'origin away';

/** Entries whose records went bad on the disk: fetched again from where they came, or else turned into gaps. */
export class Quarantine {
  readonly #store: Store;
  readonly #channels: Channels;
  readonly #recent: Recent;
  readonly #refetch: AskOrigin | undefined;
  readonly #onEvent: (event: QuarantineEvent) => void;
  /** What is being tried, by offset: readers of one entry share it. */
  readonly #tries = new Map<number, Promise<Finding>>();
  /** Those that were reported and are neither mended nor lost yet. */
  readonly #known = new Set<number>();
  /** Rows that were written anew. */
  rewrites = 0;
  quarantined = 0;
  mended = 0;
  lost = 0;

  constructor(options: {
    readonly store: Store;
    readonly channels: Channels;
    readonly recent: Recent;
    readonly refetch: AskOrigin | undefined;
    readonly onEvent: (event: QuarantineEvent) => void;
  }) {
    this.#store = options.store;
    this.#channels = options.channels;
    this.#recent = options.recent;
    this.#refetch = options.refetch;
    this.#onEvent = options.onEvent;
  }

  /** Resolves when the records are there again, or lost. While the origin is away it waits; the signal ends that, with CANCELLED. */
  async recover(offset: number, error: unknown, signal: AbortSignal): Promise<RecordBlock | undefined> {
    for (let tries = 0; ; tries++) {
      const finding = await this.#share(offset, error);
      if (finding !== 'origin away') return finding.records;
      await delay(RETRY_MS[Math.min(tries, RETRY_MS.length - 1)], undefined, { signal }).catch(() => undefined);
      if (signal.aborted) throw new FedgateError('CANCELLED', 'nobody waits for the records any more');
    }
  }

  /** Whether the row of an entry may change at this moment. */
  busy(offset: number): boolean {
    return this.#tries.has(offset);
  }

  #share(offset: number, error: unknown): Promise<Finding> {
    let running = this.#tries.get(offset);
    if (!running) {
      running = this.#attempt(offset, error).finally(() => this.#tries.delete(offset));
      this.#tries.set(offset, running);
    }
    return running;
  }

  async #attempt(offset: number, error: unknown): Promise<Finding> {
    // The row says how it is now: another reader may have seen to it, or retention removed it.
    const [stored] = await this.#store.scan(LOG, { from: key(offset), to: key(offset + 1), limit: 1 });
    // Of one that is damaged nobody knows any more what its records are.
    if (!stored || stored.damaged) return { records: undefined };
    const row = stored.value;
    const entry = decodeEntry(stored);
    if (!entry.body) return { records: undefined };
    try {
      return { records: { bytes: await this.#store.read(entry.body, entry.contentSha256), count: entry.count } };
    } catch (again) {
      if (!(again instanceof FedgateError) || again.reason !== 'BODY_UNREADABLE') throw again;
    }
    this.#report(entry, error);
    if (!entry.stream || !this.#refetch) {
      return this.#lose(entry, row, 'the records could not be read from the disk, and came from nowhere else');
    }
    return this.#askOrigin(entry, row, entry.stream, this.#refetch);
  }

  #report(entry: HeldEntry, error: unknown): void {
    if (this.#known.has(entry.offset)) return;
    if (this.#known.size === MAX_KNOWN) this.#known.clear();
    this.#known.add(entry.offset);
    this.quarantined++;
    this.#onEvent({ kind: 'quarantined', entry, error });
  }

  async #askOrigin(
    entry: HeldEntry,
    row: Buffer,
    stream: StreamPosition & { readonly from: StreamId },
    refetch: AskOrigin,
  ): Promise<Finding> {
    let records: RecordBlock | undefined;
    try {
      records = await refetch(stream.from, { epoch: stream.epoch, sequence: stream.sequence });
    } catch {
      return 'origin away';
    }
    if (!records)
      return this.#lose(
        entry,
        row,
        `the records could not be read from the disk, and ${entry.senderOrg} no longer has them`,
      );
    if (!sha256(records.bytes).equals(entry.contentSha256)) {
      return this.#lose(
        entry,
        row,
        `the records could not be read from the disk, and ${entry.senderOrg} sent others in their place`,
      );
    }
    await this.#mend(entry, row, records);
    return { records: { bytes: records.bytes, count: entry.count } };
  }

  async #mend(entry: HeldEntry, row: Buffer, records: RecordBlock): Promise<void> {
    const body = this.#store.reserve(this.#channels.of(entry.channel).bodies, records.bytes.length);
    const mended = { ...entry, body };
    const change = new Change().write(body, [records.bytes]);
    try {
      await this.#rewrite(change, mended, row, entry);
    } catch (error) {
      // They can be read all the same.
      this.#onEvent({ kind: 'unmended', entry, error });
      return;
    }
    this.mended++;
    this.#known.delete(entry.offset);
    this.#onEvent({ kind: 'mended', entry: mended });
  }

  async #lose(entry: HeldEntry, row: Buffer, reason: string): Promise<Finding> {
    const gap: HeldEntry = { ...entry, body: undefined, gap: { kind: 'gap', reason } };
    await this.#rewrite(new Change(), gap, row, entry);
    this.lost++;
    this.#known.delete(entry.offset);
    this.#onEvent({ kind: 'lost', entry: gap, reason });
    return { records: undefined };
  }

  async #rewrite(change: Change, entry: HeldEntry, row: Buffer, old: HeldEntry): Promise<void> {
    const at = channelKey(entry.channel, entry.offset);
    const range = { from: at, to: channelKey(entry.channel, entry.offset + 1) };
    const [index] = await this.#store.scan(LOG_CHANNEL, { ...range, limit: 1 });
    // Retention may have removed the entry meanwhile; then there is nothing to be put right.
    if (!index || entry.offset <= this.#channels.of(entry.channel).trimmedTo) return;
    change.put(LOG, key(entry.offset), encodeEntry(entry, decodeProof(row)));
    // One that is damaged stays so: whoever reads it reads the entry instead.
    if (!index.damaged) {
      const indexed = { ...LogChannelRow.decode(index.value), body: entry.body };
      change.put(LOG_CHANNEL, at, Buffer.from(LogChannelRow.encode(indexed).finish()));
    }
    if (old.body) change.release(old.body);
    await this.#store.commit(change);
    this.rewrites++;
    this.#recent.replace(entry);
  }
}
