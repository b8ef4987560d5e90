import { randomBytes } from 'node:crypto';
import { StoreIdentity } from '../../gen/ts/fedgate/store/v1/store.js';
import { FedgateError } from '../errors.js';
import type { Rows } from './rows.js';

const TABLE = '$store';
const KEY = Buffer.from('identity');

/** Raised when a folder is laid out in another way. */
const LAYOUT = 1;

export interface Identity {
  readonly id: Buffer;
  readonly restoredMs: number;
}

/** Reads who a store is. Undefined: it is new. Throws STORE_DAMAGED for one that a later version of fedgate made. */
export async function readIdentity(rows: Rows): Promise<Identity | undefined> {
  const row = await rows.get(TABLE, KEY);
  if (!row) return undefined;
  const { id, restoredMs, layout } = StoreIdentity.decode(row);
  if (layout !== LAYOUT) {
    throw new FedgateError('STORE_DAMAGED', `the store has layout ${layout}; this version reads layout ${LAYOUT}`);
  }
  return { id: Buffer.from(id), restoredMs: Number(restoredMs) };
}

/** Gives a store a new name, because it is new (0) or restored from a backup. */
export async function writeIdentity(rows: Rows, restoredMs: number): Promise<Identity> {
  const id = randomBytes(16);
  const row = StoreIdentity.encode({ id, restoredMs: BigInt(restoredMs), layout: LAYOUT }).finish();
  await rows.write(writer => writer.put(TABLE, KEY, Buffer.from(row)));
  return { id, restoredMs };
}
