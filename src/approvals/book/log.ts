import { LogEntry } from '../../../gen/ts/fedgate/approvals/v1/exchange.js';
import { ApprovalLogHeadRow, ApprovalLogRow } from '../../../gen/ts/fedgate/store/v1/approval.js';
import { key, numberAt } from '../../store/keys.js';
import type { Change, Store } from '../../store/store.js';
import { CHAIN_START, chainHash } from '../log-chain.js';
import type { BookEvent } from './options.js';
import { isDamage, readRow, rowsOf } from './scans.js';
import { TABLE } from './tables.js';

/** The newest entry. Index 0: there is none. */
export interface LogHead {
  readonly index: number;
  readonly hash: Buffer;
}

const HEAD_KEY = Buffer.alloc(0);
const EMPTY: LogHead = { index: 0, hash: CHAIN_START };

/** The log of approvals: everything that was said and decided, each entry chained to those before it. Nothing is ever taken out. */
export class ApprovalLog {
  readonly #store: Store;
  readonly #onEvent: (event: BookEvent) => void;
  #head: LogHead;

  private constructor(store: Store, head: LogHead, onEvent: (event: BookEvent) => void) {
    this.#store = store;
    this.#head = head;
    this.#onEvent = onEvent;
  }

  static async open(store: Store, onEvent: (event: BookEvent) => void): Promise<ApprovalLog> {
    return new ApprovalLog(store, await readHead(store, onEvent), onEvent);
  }

  /** The newest entry that is committed. */
  get head(): LogHead {
    return this.#head;
  }

  /** Takes what was committed. */
  advance(head: LogHead): void {
    this.#head = head;
  }

  /** Entries from an index on, up to the newest there is when it begins. Damaged ones are left out, which breaks the chain. */
  async *read(from: number, signal: AbortSignal): AsyncGenerator<{ index: number; entry: Buffer; hash: Buffer }> {
    const range = { from: key(Math.max(1, from)), to: key(this.#head.index + 1) };
    for await (const row of rowsOf(this.#store, TABLE.log, range)) {
      if (signal.aborted) return;
      const found = readRow(row, value => ApprovalLogRow.decode(value));
      if (found) {
        yield { index: numberAt(row.key, 0), entry: Buffer.from(found.entry), hash: Buffer.from(found.hash) };
      } else this.#onEvent({ kind: 'row-damaged', table: TABLE.log, key: row.key.toString('hex') });
    }
  }
}

/** Puts an entry behind another into a change. */
export function appendEntry(change: Change, before: LogHead, entry: LogEntry): LogHead {
  const bytes = Buffer.from(LogEntry.encode(entry).finish());
  const head = { index: before.index + 1, hash: chainHash(before.hash, bytes) };
  change.put(
    TABLE.log,
    key(head.index),
    Buffer.from(ApprovalLogRow.encode({ entry: bytes, hash: head.hash }).finish()),
  );
  change.put(
    TABLE.head,
    HEAD_KEY,
    Buffer.from(ApprovalLogHeadRow.encode({ index: BigInt(head.index), hash: head.hash }).finish()),
  );
  return head;
}

/** From either of the two rows that know it: one may be damaged. With both, the chain is broken, and goes on for whoever looks to see. */
async function readHead(store: Store, onEvent: (event: BookEvent) => void): Promise<LogHead> {
  const [last] = await store.scan(TABLE.log, { limit: 1, reverse: true });
  const index = last ? numberAt(last.key, 0) : 0;
  const entry = last && readRow(last, value => ApprovalLogRow.decode(value));
  if (entry) return { index, hash: Buffer.from(entry.hash) };
  if (last) onEvent({ kind: 'row-damaged', table: TABLE.log, key: last.key.toString('hex') });
  const head = await store.get(TABLE.head, HEAD_KEY).catch(error => {
    if (!isDamage(error)) throw error;
    onEvent({ kind: 'row-damaged', table: TABLE.head, key: '' });
    return undefined;
  });
  if (!head) return { ...EMPTY, index };
  const known = ApprovalLogHeadRow.decode(head);
  return { index: Math.max(index, Number(known.index)), hash: Buffer.from(known.hash) };
}
