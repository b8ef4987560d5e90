import { BodyRef } from '../../gen/ts/fedgate/store/v1/body.js';
import { numberAt } from '../../src/store/keys.js';
import type { Row, Store, BodyRef as StoreRef } from '../../src/store/store.js';
import { bodyOf, sha256 } from './support.js';

/** What `committer.ts` writes, and how to judge what is left of it. */

export const BODY_BYTES = 5000;
/** A third are small enough to be rows. */
export const bytesOf = (number: number): number => (number % 3 === 1 ? 300 : BODY_BYTES) + (number % 7);
/** Newest rows that are kept. */
export const KEPT = 40;
/** Small, so that segments come and go. */
export const SEGMENT_BYTES = 60_000;

export function rowOf(number: number, reserve: (length: number) => StoreRef) {
  const body = bodyOf(number, bytesOf(number));
  const ref = reserve(body.length);
  return { body, ref, row: Buffer.concat([sha256(body), BodyRef.encode(ref).finish()]) };
}

export const readRow = (row: Row): { readonly sha256: Buffer; readonly ref: StoreRef } => ({
  sha256: row.value.subarray(0, 32),
  ref: BodyRef.decode(row.value.subarray(32)),
});

export async function readState(store: Store): Promise<{
  readonly count: number;
  readonly refs: readonly (readonly [number, StoreRef])[];
}> {
  const count = await store.get('count', Buffer.from('n'));
  const rows = await store.scan('rows', { limit: 1000 });
  return {
    count: count ? numberAt(count, 0) : 0,
    refs: rows.map(row => [numberAt(row.key, 0), readRow(row).ref] as const),
  };
}

/** Says what is wrong: rows are the newest ones without a hole up to the count, each with its body. Undefined: nothing. */
export async function complaint(store: Store): Promise<string | undefined> {
  const { count, refs } = await readState(store);
  const numbers = refs.map(([number]) => number);
  const expected = Array.from({ length: Math.min(count, KEPT) }, (_, i) => Math.max(0, count - KEPT) + i);
  if (numbers.join() !== expected.join()) return `rows ${numbers.join()} for count ${count}`;
  for (const [number, ref] of refs) {
    const body = bodyOf(number, bytesOf(number));
    if (!(await store.read(ref, sha256(body))).equals(body)) return `body ${number} is another`;
  }
  return undefined;
}
