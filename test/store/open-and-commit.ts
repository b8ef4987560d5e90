import { FedgateError } from '../../src/errors.js';
import { openStore } from '../../src/store/open.js';
import { Change } from '../../src/store/store.js';

/** Run as a process of its own: opens a store that may kill it, and writes to it. Ends with 0, or 3 when it was refused as damaged. */

const [, , folder = ''] = process.argv;
try {
  const store = await openStore(folder, { reserveBytes: 0 });
  for (let i = 0; i < 20; i++) await store.commit(new Change().put('more', Buffer.of(i), Buffer.alloc(3_000, i)));
  await store.close();
} catch (error) {
  process.exitCode = error instanceof FedgateError && error.reason === 'STORE_DAMAGED' ? 3 : 1;
}
