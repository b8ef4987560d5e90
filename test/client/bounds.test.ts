import test from 'ava';
import type { FedgateError, RecordInit } from '../../src/client/index.js';
import { startFederation } from '../support/federation.js';

const OVER: readonly (readonly [field: string, record: Omit<RecordInit, 'payload'>])[] = [
  ['id', { id: 'é'.repeat(65) }],
  ['key', { key: Buffer.alloc(257) }],
  ['headers', { headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`h${i}`, ''])) }],
  ['headers', { headers: { long: 'x'.repeat(8 * 1024) } }],
  ['timeMs', { timeMs: 1.5 }],
];

test('publish: a record over a bound of record.proto is refused by field, and the next one goes on', async t => {
  const { ACME } = await startFederation(t, { ACME: {} });
  const client = await ACME.node('n');
  for (const [field, record] of OVER) {
    const error = await t.throwsAsync<FedgateError>(client.publish('x', { payload: 'p', ...record }));
    t.deepEqual([error?.reason, error?.fields[0]?.field], ['FIELD_INVALID', field]);
  }
  const atTheBounds = { id: 'i'.repeat(128), key: Buffer.alloc(256), headers: { long: 'x'.repeat(8 * 1024 - 4) } };
  t.is((await client.publish('x', { payload: 'p', ...atTheBounds })).side, 'local');
});
