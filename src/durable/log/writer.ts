import { LogEndRow } from '../../../gen/ts/fedgate/store/v1/log.js';
import { key, numberAt } from '../../store/keys.js';
import type { Change, Store } from '../../store/store.js';
import type { RecordBlock } from '../../wire/records.js';
import type { LogEntry } from '../types.js';
import type { Channel, Channels } from './channels.js';
import { decodeEntry, type EntryProof, encodeChannelRow, encodeEntry, endOf, type HeldEntry } from './entry.js';
import type { Holds } from './holds.js';
import { channelKey, type Damaged, endBehind } from './index-row.js';
import type { Recent } from './recent.js';
import { LOG, LOG_CHANNEL, LOG_STATE } from './tables.js';

export type Draft = Omit<HeldEntry, 'offset' | 'storedMs' | 'body'>;

/** An entry that has its number and stands in a change. */
export interface Numbered {
  readonly entry: HeldEntry;
  readonly records: RecordBlock | undefined;
  readonly channel: Channel;
  readonly counted: boolean;
}

/** What is known of the end of the log when it is opened. */
export interface LogEnd {
  readonly first: number;
  readonly end: number;
  readonly storedMs: number;
}

/** Offsets begin at 1, so that 0 can stand for none where a message leaves it out. */
const FIRST_OFFSET = 1;
const END_KEY = key('end');

/** Finds the ends of the log: of its entries, and of those that were trimmed. The index of a channel knows a newest row that is damaged. */
export async function findEnd(store: Store, { opened }: Channels, damaged: Damaged): Promise<LogEnd> {
  const state = await store.get(LOG_STATE, END_KEY);
  const trimmed = state ? LogEndRow.decode(state) : undefined;
  const [first] = await store.scan(LOG, { limit: 1 });
  const [last] = await store.scan(LOG, { limit: 1, reverse: true });
  let newest = { end: FIRST_OFFSET, storedMs: 0 };
  if (last?.damaged) {
    const offset = numberAt(last.key, 0);
    damaged('log', opened.newest === offset ? opened.channel : '', offset);
    newest = { end: endBehind(offset, opened.end), storedMs: opened.storedMs };
  } else if (last) {
    const entry = decodeEntry(last);
    newest = { end: endOf(entry), storedMs: entry.storedMs };
  }
  const end = Math.max(newest.end, Number(trimmed?.end ?? 0n));
  return {
    first: first ? numberAt(first.key, 0) : end,
    end,
    storedMs: Math.max(newest.storedMs, Number(trimmed?.storedMs ?? 0n)),
  };
}

/** Numbers entries and makes them durable, in order; when that fails, the numbers go back to what is on stable storage. */
export class LogWriter {
  readonly #store: Store;
  readonly #channels: Channels;
  readonly #holds: Holds;
  readonly #recent: Recent;
  readonly #bounds: { first: number; end: number };
  readonly #now: () => number;
  readonly #appended: (entry: LogEntry, channel: Channel) => void;
  readonly #reset: () => void;
  #next: number;
  #storedMs: number;
  #committedMs: number;
  /** Rises each time numbers go back, so that each failure does that once for all that was under way. */
  #generation = 0;

  constructor(options: {
    readonly store: Store;
    readonly channels: Channels;
    readonly holds: Holds;
    readonly recent: Recent;
    readonly bounds: { first: number; end: number };
    readonly storedMs: number;
    readonly now: () => number;
    /** An entry is on stable storage. */
    readonly appended: (entry: LogEntry, channel: Channel) => void;
    /** Nothing that is under way will be. */
    readonly reset: () => void;
  }) {
    this.#store = options.store;
    this.#channels = options.channels;
    this.#holds = options.holds;
    this.#recent = options.recent;
    this.#bounds = options.bounds;
    this.#now = options.now;
    this.#appended = options.appended;
    this.#reset = options.reset;
    this.#next = options.bounds.end;
    this.#storedMs = options.storedMs;
    this.#committedMs = options.storedMs;
  }

  /** Gives an entry the next offset and puts it into a change, which is then given to `commit` in this same turn. */
  add(change: Change, draft: Draft, records: RecordBlock | undefined, proof: EntryProof): Numbered {
    const channel = this.#channels.of(draft.channel);
    // The clock may be set back; the log stays in the order of time all the same, so that a time has one place in it.
    this.#storedMs = Math.max(this.#storedMs, this.#now());
    const body = records && this.#store.reserve(channel.bodies, records.bytes.length);
    const entry: HeldEntry = {
      offset: this.#next,
      count: draft.count,
      channel: draft.channel,
      senderOrg: draft.senderOrg,
      senderNode: draft.senderNode,
      storedMs: this.#storedMs,
      expireMs: draft.expireMs,
      bytes: draft.bytes,
      gap: draft.gap,
      stream: draft.stream,
      notifyConsumed: draft.notifyConsumed,
      body,
      contentSha256: draft.contentSha256,
    };
    this.#next = endOf(entry);
    channel.underWay++;
    channel.total += entry.bytes;
    if (body && records) change.write(body, [records.bytes]);
    change.put(LOG, key(entry.offset), encodeEntry(entry, proof));
    change.put(LOG_CHANNEL, channelKey(channel.name, entry.offset), encodeChannelRow(entry, channel.total));
    return { entry, records, channel, counted: this.#holds.count(channel, entry) };
  }

  /** Resolves when the change is on stable storage; `committed` is called before anybody hears of the entries. */
  async commit(change: Change, numbered: readonly Numbered[], committed: () => void): Promise<void> {
    const generation = this.#generation;
    try {
      await this.#store.commit(change);
    } catch (error) {
      if (generation === this.#generation) this.#goBack();
      for (const each of numbered) this.#settle(each, false);
      throw error;
    }
    for (const each of numbered) this.#settle(each, true);
    committed();
    for (const { entry, channel } of numbered) this.#appended(entry, channel);
  }

  /** Says in a change that the log came as far as it did, for when no entry is left that says it. */
  keepEnd(change: Change): void {
    const row = { end: BigInt(this.#bounds.end), storedMs: BigInt(this.#committedMs) };
    change.put(LOG_STATE, END_KEY, Buffer.from(LogEndRow.encode(row).finish()));
  }

  #settle({ entry, records, channel, counted }: Numbered, stored: boolean): void {
    channel.underWay--;
    if (stored) {
      this.#bounds.end = endOf(entry);
      this.#committedMs = entry.storedMs;
      this.#channels.committed(channel, entry);
      this.#recent.add(entry, records);
    }
    this.#holds.settle(channel, entry, counted, stored);
    this.#channels.forget(channel);
  }

  #goBack(): void {
    this.#generation++;
    this.#next = this.#bounds.end;
    this.#storedMs = this.#committedMs;
    for (const channel of this.#channels.all()) channel.total = channel.committedTotal;
    this.#reset();
  }
}
