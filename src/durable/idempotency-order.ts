import { IdempotencyOrderRow } from '../../gen/ts/fedgate/store/v1/idempotency.js';
import { key, numberAt, prefixed } from '../store/keys.js';
import { Change, type Store } from '../store/store.js';

export const IDEMPOTENCY_TABLE = 'idempotency';
/** Rows that one step of pruning removes at most: ~1 ms of a commit. */
const PRUNE_ROWS = 2_000;

export interface OrderOptions {
  readonly store: Store;
  readonly scope: string;
  readonly kind: 'id' | 'producer';
  readonly now: () => number;
  /** Rows per node. */
  readonly max: number;
  /** Undefined: without limit of time. */
  readonly keepMs: number | undefined;
}

/** The order in which rows of a node came, so that the oldest can go. Numbers only rise; a commit that fails leaves a hole. */
export class IdempotencyOrder {
  readonly #options: OrderOptions;
  readonly #prefix: Buffer;
  /** The next number of each node: as many as the organisation has nodes. */
  readonly #next = new Map<string, number>();
  /** Rows that were written while a step of pruning looked at the disk: it must leave them alone. */
  #written: Set<string> | undefined;

  private constructor(options: OrderOptions) {
    this.#options = options;
    this.#prefix = key(options.scope, `${options.kind}-order`);
  }

  static async open(options: OrderOptions): Promise<IdempotencyOrder> {
    const order = new IdempotencyOrder(options);
    const all = prefixed(order.#prefix);
    let from = all.from;
    for (;;) {
      // From node to node: the first row that is left of one, then its last.
      const [row] = await options.store.scan(IDEMPOTENCY_TABLE, { from, to: all.to, limit: 1 });
      if (!row) return order;
      const node = row.key.subarray(order.#prefix.length, row.key.length - 9).toString();
      const { from: begin, to: end } = order.#range(node);
      const [last] = await options.store.scan(IDEMPOTENCY_TABLE, { from: begin, to: end, limit: 1, reverse: true });
      order.#next.set(node, last ? numberAt(last.key, last.key.length - 8) + 1 : 1);
      from = end;
    }
  }

  /** Gives a row the next number of its node, and takes the one it had. */
  add(change: Change, node: string, rowKey: Buffer, old: number | undefined): number {
    const number = this.next(node);
    this.#next.set(node, number + 1);
    this.#written?.add(rowKey.toString('latin1'));
    if (old !== undefined) change.remove(IDEMPOTENCY_TABLE, this.#key(node, old));
    const row = { rowKey, storedMs: BigInt(this.#options.now()) };
    change.put(IDEMPOTENCY_TABLE, this.#key(node, number), Buffer.from(IdempotencyOrderRow.encode(row).finish()));
    return number;
  }

  next(node: string): number {
    return this.#next.get(node) ?? 1;
  }

  /** Removes the oldest rows that are too old or too many, but for those in use. */
  async prune(inUse: (rowKey: Buffer) => boolean): Promise<void> {
    for (const node of [...this.#next.keys()]) {
      this.#written = new Set();
      try {
        await this.#pruneNode(node, inUse);
      } finally {
        this.#written = undefined;
      }
    }
  }

  async #pruneNode(node: string, inUse: (rowKey: Buffer) => boolean): Promise<void> {
    const { store, max, keepMs, now } = this.#options;
    const rows = await store.scan(IDEMPOTENCY_TABLE, { ...this.#range(node), limit: PRUNE_ROWS });
    const lowest = this.next(node) - max;
    const change = new Change();
    for (const { key: orderKey, value } of rows) {
      const { rowKey, storedMs } = IdempotencyOrderRow.decode(value);
      const old = keepMs !== undefined && Number(storedMs) < now() - keepMs;
      if (!old && numberAt(orderKey, orderKey.length - 8) >= lowest) break;
      const bytes = Buffer.from(rowKey);
      if (inUse(bytes) || this.#written?.has(bytes.toString('latin1'))) continue;
      change.remove(IDEMPOTENCY_TABLE, orderKey).remove(IDEMPOTENCY_TABLE, bytes);
    }
    if (!change.empty) await store.commit(change);
  }

  #range(node: string): { readonly from: Buffer; readonly to: Buffer } {
    return prefixed(Buffer.concat([this.#prefix, key(node)]));
  }

  #key(node: string, number: number): Buffer {
    return Buffer.concat([this.#prefix, key(node, number)]);
  }
}
