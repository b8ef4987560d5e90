import type { Row, Store, Table } from '../../store/store.js';

const ROWS_A_SCAN = 256;

/** Every row of a table, damaged ones among them. */
export async function* rowsOf(store: Store, table: Table): AsyncGenerator<Row> {
  let from: Buffer | undefined;
  for (;;) {
    const rows = await store.scan(table, { ...(from ? { from } : {}), limit: ROWS_A_SCAN });
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < ROWS_A_SCAN) return;
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

/** The organisation at the beginning of a key. */
export const orgOfKey = (key: Buffer): string => key.subarray(0, key.indexOf(0)).toString();

export const idOfKey = (key: Buffer): Buffer => key.subarray(key.length - 16);
