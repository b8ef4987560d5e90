import type { Row, Store, Table } from '../../store/store.js';
import { pieceCount } from '../manifest.js';
import { Bitmap } from './bitmap.js';
import type { OnContentEvent } from './events.js';
import { storedRow } from './index-view.js';
import { entryOf, type Ledger, STEP_BYTES } from './ledger.js';
import { bytesOf } from './opened-contents.js';
import { type ContentRow, decodeContentRow, decodeHeldRow, decodeUploadRow, ownerOf, TABLE } from './rows.js';

/** Rows with manifests have up to 2 MiB. */
const PAGE_ROWS = 16;
const PAGE_SMALL_ROWS = 1000;

/** Goes through a table a page at a time. Damaged rows are told of and left out; the key of each is in `damaged`. */
export async function eachRow<T>(
  store: Store,
  table: Table,
  decode: (bytes: Buffer) => T,
  visit: (key: Buffer, row: T | undefined) => Promise<void> | void,
  onEvent: OnContentEvent,
): Promise<void> {
  const limit = table === TABLE.content ? PAGE_ROWS : PAGE_SMALL_ROWS;
  for (let from: Buffer | undefined; ; ) {
    const page: Row[] = await store.scan(table, { limit, ...(from && { from }) });
    for (const row of page) {
      const decoded = decodedRow(row, decode);
      if (!decoded) onEvent({ kind: 'row-damaged', table, key: row.key });
      await visit(row.key, decoded);
    }
    const last = page.at(-1);
    if (!last || page.length < limit) return;
    from = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

function decodedRow<T>(row: Row, decode: (bytes: Buffer) => T): T | undefined {
  if (row.damaged) return undefined;
  try {
    return decode(row.value);
  } catch {
    return undefined;
  }
}

/** Fills the ledger with what is committed. Answers whether rows were damaged, so that references are to be counted again. */
export async function loadLedger(store: Store, ledger: Ledger, onEvent: OnContentEvent): Promise<boolean> {
  let damaged = false;
  const tell: OnContentEvent = event => {
    damaged = true;
    onEvent(event);
  };
  const content = async (id: Buffer, row: ContentRow | undefined): Promise<void> => {
    if (row) ledger.setContent(id.toString('hex'), entryOf(row, await heldBytes(store, id, row, tell)));
  };
  await eachRow(store, TABLE.content, decodeContentRow, content, tell);
  await eachRow(
    store,
    TABLE.upload,
    decodeUploadRow,
    (at, row) => {
      if (!row) return;
      const { size, committedSize, usedMs } = row;
      const reservedBytes = size ?? Math.max(1, Math.ceil(committedSize / STEP_BYTES)) * STEP_BYTES;
      const entry = { owner: ownerOf(at), reservedBytes, committedBytes: committedSize, usedMs };
      ledger.setUpload(at.toString('latin1'), entry);
    },
    tell,
  );
  return damaged;
}

async function heldBytes(store: Store, id: Buffer, { manifest }: ContentRow, onEvent: OnContentEvent): Promise<number> {
  if (!manifest) return 0;
  const bits = await storedRow(store, TABLE.held, id, decodeHeldRow, onEvent);
  return bytesOf(manifest, new Bitmap(pieceCount(manifest), bits));
}
