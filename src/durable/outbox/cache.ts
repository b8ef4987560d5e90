import type { OrgName } from '../../identity/names.js';
import type { RecordBlock } from '../../wire/records.js';
import type { StreamPosition } from '../types.js';

/** A batch that was stored a moment ago. */
export interface CachedBatch extends StreamPosition {
  readonly header: Buffer;
  readonly signature: Buffer;
  readonly records: RecordBlock;
  readonly storedMs: number;
  readonly expireMs: number;
}

/** Memory for what was stored a moment ago, over all outboxes: a link that is up sends it from here and does not read the disk. */
export const CACHE_BYTES = 16 * 1024 * 1024;
/** What a batch costs beside its records and header, about. */
const ENTRY_BYTES = 512;

/** Batches by place; the oldest goes when there is no more room. */
export class BatchCache {
  readonly #maxBytes: number;
  readonly #held = new Map<string, CachedBatch>();
  #bytes = 0;

  constructor(maxBytes = CACHE_BYTES) {
    this.#maxBytes = maxBytes;
  }

  put(org: OrgName, batch: CachedBatch): void {
    this.#held.set(nameOf(org, batch), batch);
    this.#bytes += costOf(batch);
    for (const [name, oldest] of this.#held) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#held.delete(name);
      this.#bytes -= costOf(oldest);
    }
  }

  get(org: OrgName, position: StreamPosition): CachedBatch | undefined {
    return this.#held.get(nameOf(org, position));
  }

  drop(org: OrgName, position: StreamPosition): void {
    const name = nameOf(org, position);
    const batch = this.#held.get(name);
    if (!batch) return;
    this.#held.delete(name);
    this.#bytes -= costOf(batch);
  }
}

const nameOf = (org: OrgName, { epoch, sequence }: StreamPosition): string => `${org}/${epoch}/${sequence}`;
const costOf = ({ header, records }: CachedBatch): number => records.bytes.length + header.length + ENTRY_BYTES;
