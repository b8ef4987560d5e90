import type { Pattern } from '../../messaging/address.js';
import type { RecordBlock } from '../../wire/records.js';
import { concerns, endOf, type HeldEntry } from './entry.js';

/** What a subscription that keeps up reads from memory: a second of traffic at 16 MiB/s, or of 16384 small batches. */
export const RECENT_BYTES = 16 * 1024 * 1024;
export const RECENT_ENTRIES = 16_384;

interface Item {
  entry: HeldEntry;
  records: RecordBlock | undefined;
  trimmed: boolean;
}

/** The newest entries without a hole, with their records. */
export class Recent {
  #items: Item[] = [];
  #head = 0;
  #bytes = 0;
  /** From here on every entry is held. */
  #from: number;

  constructor(end: number) {
    this.#from = end;
  }

  get bytes(): number {
    return this.#bytes;
  }

  covers(offset: number): boolean {
    return offset >= this.#from;
  }

  add(entry: HeldEntry, records: RecordBlock | undefined): void {
    this.#items.push({ entry, records: records && { ...records, bytes: owned(records.bytes) }, trimmed: false });
    this.#bytes += records?.bytes.length ?? 0;
    while (this.#bytes > RECENT_BYTES || this.#items.length - this.#head > RECENT_ENTRIES) this.#drop();
  }

  records(offset: number): RecordBlock | undefined {
    return this.#at(offset)?.records;
  }

  /** The entry became a gap, or moved on the disk. */
  replace(entry: HeldEntry): void {
    const item = this.#at(entry.offset);
    if (!item) return;
    item.entry = entry;
    if (entry.gap) this.#dropRecords(item);
  }

  /** The entry is not in the log any more. */
  trim(offset: number): void {
    const item = this.#at(offset);
    if (!item) return;
    item.trimmed = true;
    this.#dropRecords(item);
  }

  read(from: number, pattern: Pattern, limit: number, end: number): { entries: HeldEntry[]; next: number } {
    const entries: HeldEntry[] = [];
    for (let at = this.#find(from); at < this.#items.length; at++) {
      const { entry, trimmed } = this.#items[at] as Item;
      if (trimmed || !concerns(pattern, entry.channel)) continue;
      entries.push(entry);
      if (entries.length === limit) return { entries, next: endOf(entry) };
    }
    return { entries, next: end };
  }

  #at(offset: number): Item | undefined {
    const item = this.#items[this.#find(offset)];
    return item?.entry.offset === offset ? item : undefined;
  }

  #dropRecords(item: Item): void {
    this.#bytes -= item.records?.bytes.length ?? 0;
    item.records = undefined;
  }

  /** The place of the first entry that ends behind an offset. */
  #find(offset: number): number {
    let low = this.#head;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (endOf((this.#items[middle] as Item).entry) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(): void {
    const item = this.#items[this.#head++] as Item;
    this.#dropRecords(item);
    this.#from = endOf(item.entry);
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** A view of little in much would keep all of it in memory. */
function owned(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
