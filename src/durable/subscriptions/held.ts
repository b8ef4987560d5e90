import { recordKeys, recordStarts, sliceAt } from '../../wire/record-index.js';
import type { RecordBlock } from '../../wire/records.js';
import type { LogEntry } from '../types.js';

/** What a subscription knows of an entry of the log as long as some of its records are not settled. */
export class Held {
  readonly entry: LogEntry;
  /** The dead letter that this record is, tried again. */
  readonly deadLetter: number | undefined;
  /** Records that are not settled, and those of them that are to be delivered. */
  open = 0;
  ready = 0;
  /** Some record was not acknowledged but given up or out of date: the batch was not consumed. */
  spoiled = false;
  /** Why there are no records, found out when they were read. */
  lost: string | undefined;
  /** Numbers for the keys of the records; undefined: none has a key, or nobody needs to know. */
  keys: Uint32Array | undefined;
  #records: RecordBlock | undefined;
  #starts: Uint32Array | undefined;

  constructor(entry: LogEntry, deadLetter?: number) {
    this.entry = entry;
    this.deadLetter = deadLetter;
  }

  get records(): RecordBlock | undefined {
    return this.#records;
  }

  /** Whether there is nothing more to be read before it can be delivered. */
  get loaded(): boolean {
    return this.#records !== undefined || this.lost !== undefined || this.entry.gap !== undefined;
  }

  load(records: RecordBlock, keyed: boolean): void {
    this.#records = records;
    if (keyed && this.keys === undefined) this.keys = recordKeys(records);
  }

  unload(): void {
    this.#records = undefined;
    this.#starts = undefined;
  }

  /** The records of some offsets, as a view. Only when loaded. */
  slice(first: number, last: number): RecordBlock {
    const block = this.#records;
    if (!block) throw new RangeError('the records are not loaded');
    const { offset } = this.entry;
    if (first === offset && last - first + 1 === block.count) return block;
    this.#starts ??= recordStarts(block);
    return sliceAt(block, this.#starts, first - offset, last - offset + 1);
  }
}
