import type { RecordBlock } from '../../wire/records.js';
import type { Held } from './held.js';

/** The records that a subscription has in memory and did not deliver yet, within the bounds of its own and of all together. */
export class Loaded {
  readonly #bytesOf = new Map<Held, number>();
  readonly #limits: { readonly aheadBytes: number; readonly aheadBytesOfAll: number };
  readonly #all: { bytes: number };
  #bytes = 0;

  constructor(limits: { readonly aheadBytes: number; readonly aheadBytesOfAll: number }, all: { bytes: number }) {
    this.#limits = limits;
    this.#all = all;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that may be loaded now. One that has nothing may always load something. */
  get room(): number {
    const { aheadBytes, aheadBytesOfAll } = this.#limits;
    const room = Math.min(aheadBytes - this.#bytes, aheadBytesOfAll - this.#all.bytes);
    return this.#bytes === 0 ? Math.max(1, room) : room;
  }

  /** Makes room for what comes first by letting go of what comes last. False: everything else comes before it. */
  makeRoom(held: Held): boolean {
    while (this.room <= 0) {
      let last: Held | undefined;
      for (const other of this.#bytesOf.keys()) if (!last || other.entry.offset > last.entry.offset) last = other;
      if (!last || last.entry.offset <= held.entry.offset) return false;
      this.unload(last);
    }
    return true;
  }

  load(held: Held, records: RecordBlock, keyed: boolean): void {
    if (held.records) return;
    held.load(records, keyed);
    this.#bytesOf.set(held, records.bytes.length);
    this.#count(records.bytes.length);
  }

  unload(held: Held): void {
    const bytes = this.#bytesOf.get(held);
    if (bytes === undefined) return;
    this.#bytesOf.delete(held);
    held.unload();
    this.#count(-bytes);
  }

  clear(): void {
    for (const held of [...this.#bytesOf.keys()]) this.unload(held);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#all.bytes += bytes;
  }
}
