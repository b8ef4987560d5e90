import type { Change } from '../../store/store.js';
import { joinBlocks, MAX_FRAME_RECORDS, type RecordBlock } from '../../wire/records.js';
import type { Claim } from '../idempotency.js';
import type { OutgoingRecords, Stored } from '../types.js';

/** Publishes of one channel and publisher leave as one batch of up to this size, bytes: signing and verifying cost 0.1 ms whatever the size. */
export const MERGE_BYTES = 256 * 1024;

/** A publish that waits to be stored. */
export interface Pending {
  readonly outgoing: OutgoingRecords;
  readonly claim: Claim | undefined;
  /** What else is to be in the change that stores it. */
  readonly extra: ((change: Change) => void) | undefined;
  /** Whether the cap on what waits counts for it. */
  readonly capped: boolean;
  resolve(stored: Stored): void;
  reject(error: unknown): void;
}

/** A batch that is being put together. */
export class Draft {
  readonly terms: OutgoingRecords;
  readonly parts: Pending[] = [];
  bytes = 0;
  records = 0;

  constructor(terms: OutgoingRecords) {
    this.terms = terms;
  }

  add(pending: Pending): void {
    this.parts.push(pending);
    this.bytes += pending.outgoing.records.bytes.length;
    this.records += pending.outgoing.records.count;
  }

  takes({ outgoing }: Pending): boolean {
    const { ttlMs, notifyConsumed, records } = outgoing;
    return (
      ttlMs === this.terms.ttlMs &&
      notifyConsumed === this.terms.notifyConsumed &&
      this.bytes + records.bytes.length <= MERGE_BYTES &&
      this.records + records.count <= MAX_FRAME_RECORDS
    );
  }

  block(): RecordBlock {
    return joinBlocks(this.parts.map(({ outgoing }) => outgoing.records));
  }
}

/** Puts publishes together into batches. Order holds per channel and publisher. */
export class Drafts {
  readonly all: Draft[] = [];
  readonly #open = new Map<string, Draft>();

  add(pending: Pending): void {
    const { channel, senderNode } = pending.outgoing;
    const name = `${senderNode} ${channel}`;
    let draft = this.#open.get(name);
    if (!draft?.takes(pending)) {
      draft = new Draft(pending.outgoing);
      this.#open.set(name, draft);
      this.all.push(draft);
    }
    draft.add(pending);
  }
}
