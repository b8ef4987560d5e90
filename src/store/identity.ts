import { randomBytes } from 'node:crypto';
import { StoreIdentity } from '../../gen/ts/fedgate/store/v1/store.js';
import { FedgateError } from '../errors.js';
import type { Rows } from './rows.js';

const TABLE = '$store';
const KEY = Buffer.from('identity');

/** Raised when a folder is laid out in another way. From 2 on small bodies are rows; all others are as in 1. */
const LAYOUT = 2;

export interface Identity {
  readonly id: Buffer;
  readonly restoredMs: number;
  readonly layout: number;
}

/** Reads who a store is. Undefined: it is new. Throws STORE_DAMAGED for one that a later version of fedgate made. */
export async function readIdentity(rows: Rows): Promise<Identity | undefined> {
  const row = await rows.get(TABLE, KEY);
  if (!row) return undefined;
  const { id, restoredMs, layout } = StoreIdentity.decode(row);
  if (layout < 1 || layout > LAYOUT) {
    const message = `the store has layout ${layout}; this version reads layouts up to ${LAYOUT}`;
    throw new FedgateError('STORE_DAMAGED', message);
  }
  return { id: Buffer.from(id), restoredMs: Number(restoredMs), layout };
}

/** Who the store is that is opened to be written to. A version that cannot read what this one writes refuses it from now on. */
export async function openIdentity(rows: Rows): Promise<Identity> {
  const known = await readIdentity(rows);
  if (!known) return await writeIdentity(rows, 0);
  return known.layout === LAYOUT ? known : await write(rows, { ...known, layout: LAYOUT });
}

/** Gives a store a new name, because it is new (0) or restored from a backup. */
export async function writeIdentity(rows: Rows, restoredMs: number): Promise<Identity> {
  return await write(rows, { id: randomBytes(16), restoredMs, layout: LAYOUT });
}

async function write(rows: Rows, identity: Identity): Promise<Identity> {
  const { id, restoredMs, layout } = identity;
  const row = StoreIdentity.encode({ id, restoredMs: BigInt(restoredMs), layout }).finish();
  await rows.write(writer => writer.put(TABLE, KEY, Buffer.from(row)));
  return identity;
}
