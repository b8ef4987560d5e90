import { key, numberAt } from './keys.js';
import type { RowWriter } from './rows.js';
import type { BodyRef, Row } from './store.js';

/** The table of bodies that are rows: number → the body. Written by the store alone. */
export const BODY_TABLE = '$body';

/**
 * Bodies up to this are rows themselves, bytes: what is alone is then on stable storage with the sync of its row, instead of two one after
 * the other. A record of 1 KiB with its header still fits; above 2 KiB LMDB gives a value pages of its own.
 */
export const ROW_BODY_BYTES = 1536;

/**
 * Such a body has this as its segment, and more for each 2^32 of them: segment and offset are its number. What of segment files could be
 * numbered from here on is 32 PiB away.
 */
export const ROWS_SEGMENT = 2 ** 31;
const OFFSETS = 2 ** 32;

export const isRow = ({ segment }: { readonly segment: number }): boolean => segment >= ROWS_SEGMENT;

export const bodyKey = ({ segment, offset }: BodyRef): Buffer => key((segment - ROWS_SEGMENT) * OFFSETS + offset);

export const rowRef = (log: string, number: number, length: number): BodyRef => ({
  log,
  segment: ROWS_SEGMENT + Math.floor(number / OFFSETS),
  offset: number % OFFSETS,
  length,
});

/** The number of the next one, after the last row there is. One that was released is free again: no row refers to it. */
export const numberAfter = (last: Row | undefined): number => (last ? numberAt(last.key, 0) + 1 : 0);

export function writeBody(writer: RowWriter, ref: BodyRef, parts: readonly Buffer[]): void {
  writer.put(BODY_TABLE, bodyKey(ref), parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts));
}
