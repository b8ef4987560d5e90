import type { Pattern } from '../../messaging/address.js';
import type { RecordBlock } from '../../wire/records.js';
import type { LogEntry } from '../types.js';
import type { Cursor } from './cursor.js';
import { Held } from './held.js';
import type { Loaded } from './loaded.js';
import type { DeadLetterKeeper, SubscriptionParts } from './parts.js';

export interface SupplyOptions {
  readonly parts: Pick<SubscriptionParts, 'log' | 'limits'> & {
    readonly deadLetters: Pick<DeadLetterKeeper, 'records'>;
  };
  readonly pattern: Pattern;
  readonly group: boolean;
  readonly loaded: Loaded;
  /** The cursor of this moment: another one after a seek or a commit that failed. */
  readonly cursor: () => Cursor;
  /** Whether anybody would take more. */
  readonly wanted: () => boolean;
  /** Something can be delivered that could not before. */
  readonly supplied: () => void;
  /** Nothing is being read any more. */
  readonly idle: () => void;
  readonly failed: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Entries that one read of the log asks for. */
const PAGE = 64;

/** Brings a subscription what it is to deliver: entries ahead of their delivery, and again the records of those that come back. */
export class Supply {
  readonly #options: SupplyOptions;
  #filling = false;
  /** More was asked for while it was being read. */
  #asked = false;
  #loading = false;
  /** Entries whose records were not read yet, and where the log goes on behind them. */
  #sight: readonly LogEntry[] = [];
  #sightEnd = 0;
  #sightOf: Cursor | undefined;

  constructor(options: SupplyOptions) {
    this.#options = options;
  }

  get busy(): boolean {
    return this.#filling || this.#loading;
  }

  /** Reads ahead until there is enough, or nothing more. */
  fill(): void {
    this.#asked = true;
    if (this.#filling || !this.#wanted()) return;
    this.#filling = true;
    this.#asked = false;
    this.#fillUp()
      .catch(error => this.#failed(error))
      .finally(() => {
        this.#filling = false;
        // Something may have come, or been settled, after it was looked for and before this.
        if (this.#asked) this.fill();
        if (!this.busy) this.#options.idle();
      });
  }

  /** Reads the records of an entry that is to be delivered again. */
  load(held: Held): void {
    if (this.#loading || !this.#options.loaded.makeRoom(held)) return;
    this.#loading = true;
    this.read(held).then(
      () => {
        this.#loading = false;
        this.#options.supplied();
      },
      error => {
        this.#loading = false;
        this.#failed(error);
      },
    );
  }

  /** Afterwards it is loaded, or known to be lost. */
  async read(held: Held): Promise<void> {
    const { parts, loaded, group, signal } = this.#options;
    const cursor = this.#options.cursor();
    const records =
      held.deadLetter === undefined
        ? await parts.log.records(held.entry, signal)
        : await parts.deadLetters.records(held.deadLetter);
    // While it was read, all of it may have been settled, or the cursor thrown away: then nobody would let go of it.
    if (held.open === 0 || cursor !== this.#options.cursor()) return;
    this.#take(held, records, loaded, group);
  }

  #take(held: Held, records: RecordBlock | undefined, loaded: Loaded, group: boolean): void {
    if (records) loaded.load(held, records, group);
    else held.lost = 'its records can no longer be read';
  }

  async #fillUp(): Promise<void> {
    while (this.#wanted()) {
      const cursor = this.#options.cursor();
      if (!(await this.#look(cursor))) return;
      if (cursor !== this.#options.cursor()) continue;
      const entries = this.#affordable();
      const blocks = await Promise.all(entries.map(entry => this.#recordsOf(entry)));
      if (cursor !== this.#options.cursor()) continue;
      this.#sight = this.#sight.slice(entries.length);
      for (const [i, entry] of entries.entries()) this.#admit(cursor, entry, blocks[i]);
      if (this.#sight.length === 0) cursor.passTo(this.#sightEnd);
      this.#options.supplied();
    }
  }

  /** Looks for entries unless some are in sight. False: there is nothing new. */
  async #look(cursor: Cursor): Promise<boolean> {
    if (this.#sightOf === cursor && this.#sight.length > 0) return true;
    const { parts, pattern } = this.#options;
    const from = cursor.next;
    const { entries, next } = await parts.log.read(from, pattern, PAGE);
    this.#sightOf = cursor;
    this.#sight = entries;
    this.#sightEnd = next;
    return entries.length > 0 || next > from;
  }

  #recordsOf(entry: LogEntry): Promise<RecordBlock | undefined> | undefined {
    return entry.gap ? undefined : this.#options.parts.log.records(entry, this.#options.signal);
  }

  /** Entries whose records fit, in memory and into what may be unsettled; always at least one. */
  #affordable(): readonly LogEntry[] {
    const { ledger } = this.#options.cursor();
    const { unsettledRecords, unsettledPieces } = this.#options.parts.limits;
    let bytesLeft = this.#options.loaded.room;
    let recordsLeft = unsettledRecords - ledger.open;
    const piecesLeft = unsettledPieces - ledger.segments.length;
    let entries = 0;
    for (const { bytes, count } of this.#sight) {
      bytesLeft -= bytes;
      recordsLeft -= count;
      if (entries > 0 && (bytesLeft < 0 || recordsLeft < 0 || entries >= piecesLeft)) break;
      entries++;
    }
    return this.#sight.slice(0, entries);
  }

  #admit(cursor: Cursor, entry: LogEntry, records: RecordBlock | undefined): void {
    const { loaded, group } = this.#options;
    // The keys must be known before the records are in the ledger: they say which consumer may have them.
    const held = new Held(entry);
    if (!entry.gap) this.#take(held, records, loaded, group);
    if (!cursor.admit(entry, held) || held.ready === 0) loaded.unload(held);
  }

  #wanted(): boolean {
    const { parts, loaded, wanted, cursor } = this.#options;
    const { ledger, next } = cursor();
    const { unsettledRecords, unsettledPieces } = parts.limits;
    return (
      next < parts.log.end &&
      loaded.room > 0 &&
      ledger.open < unsettledRecords &&
      ledger.segments.length < unsettledPieces &&
      wanted()
    );
  }

  #failed(error: unknown): void {
    if (!this.#options.signal.aborted) this.#options.failed(error);
  }
}
