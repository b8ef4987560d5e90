import { numberAt } from '../../store/keys.js';
import { type Desk, findProposal, readSummary } from './desk.js';
import { isDamage, readRow, rowsOf } from './scans.js';
import { standing } from './standing.js';
import { TABLE } from './tables.js';

/** Reads what is open, as lists showed it last: it is counted anew right after. Of what has ended nothing is read. Rejects with STORE_*. */
export async function loadOpen(desk: Desk): Promise<void> {
  const found: { readonly id: Buffer; readonly number: number }[] = [];
  for await (const row of rowsOf(desk.store, TABLE.open)) {
    const number = readRow(row, value => numberAt(value, 0));
    if (number === undefined) desk.event({ kind: 'row-damaged', table: TABLE.open, key: row.key.toString('hex') });
    found.push({ id: row.key, number: number ?? 0 });
  }
  for (const { id, number } of found.sort((a, b) => a.number - b.number)) await loadOne(desk, id, number);
  const [newest] = await desk.store.scan(TABLE.summary, { limit: 1, reverse: true });
  desk.nextNumber = 1 + Math.max(found.at(-1)?.number ?? 0, newest ? numberAt(newest.key, 0) : 0);
}

/** What cannot be read is made anew from the proposal and its votes. */
async function loadOne(desk: Desk, id: Buffer, number: number): Promise<void> {
  const summary = number > 0 ? await readSummary(desk, number) : undefined;
  if (summary && id.equals(summary.id)) {
    desk.index.set(id, number, summary);
    return;
  }
  try {
    const stored = await findProposal(desk, id);
    if (stored && !stored.end) desk.index.set(id, stored.number, (await standing(desk, stored)).summary);
  } catch (error) {
    if (!isDamage(error)) throw error;
    // In no list of what is open, and nothing happens to it.
    desk.event({ kind: 'row-damaged', table: TABLE.proposal, key: id.toString('hex') });
  }
}
