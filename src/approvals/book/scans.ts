import { FedgateError } from '../../errors.js';
import type { KeyRange, Row, Store, Table } from '../../store/store.js';

/** Rows may hold statements: these are some 16 MiB at the very most. */
const ROWS_A_SCAN = 128;

/** Every row of a range, damaged ones among them. */
export async function* rowsOf(store: Store, table: Table, range: KeyRange = {}): AsyncGenerator<Row> {
  let { from } = range;
  for (;;) {
    const rows = await store.scan(table, { ...range, ...(from ? { from } : {}), limit: ROWS_A_SCAN });
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < ROWS_A_SCAN) return;
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

/** What a row holds; undefined when it is damaged, or is not what such a row is. */
export function readRow<T>(row: Row, decode: (value: Buffer) => T): T | undefined {
  if (row.damaged) return undefined;
  try {
    return decode(row.value);
  } catch {
    return undefined;
  }
}

export const isDamage = (error: unknown): boolean => error instanceof FedgateError && error.reason === 'STORE_DAMAGED';
