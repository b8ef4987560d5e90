import { hash } from 'node:crypto';
import { join } from 'node:path';
import { openStore, type StoreOptions } from '../../src/store/open.js';
import { type BodyRef, Change, type Store } from '../../src/store/store.js';
import { type TestScope, temporaryFolder } from '../support/registry.js';

export const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');

/** Opens a store that is closed after the test, unless the test did. */
export async function opened(t: TestScope, folder: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = await openStore(folder, { reserveBytes: 0, ...options });
  t.teardown(() => store.close());
  return store;
}

export const storeFolder = async (t: TestScope): Promise<string> => join(await temporaryFolder(t), 'store');

/** Bytes that differ for each number. */
export const bodyOf = (number: number, length: number): Buffer => Buffer.alloc(length, `body ${number};`);

/** Adds a body to a change. */
export function writeBody(store: Store, change: Change, log: string, body: Buffer): BodyRef {
  const ref = store.reserve(log, body.length);
  change.write(ref, [body.subarray(0, 3), body.subarray(3)]);
  return ref;
}

/** Commits one body without a row. */
export async function storeBody(store: Store, log: string, body: Buffer): Promise<BodyRef> {
  const change = new Change();
  const ref = writeBody(store, change, log, body);
  await store.commit(change);
  return ref;
}
