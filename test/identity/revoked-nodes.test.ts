import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { FedgateError } from '../../src/errors.js';
import { REVOCATION_NEEDED_MS } from '../../src/identity/revocation.js';
import {
  changeRevokedNodes,
  isNodeRevoked,
  NONE_REVOKED,
  readRevokedNodes,
  revokeNode,
  revokeNodeKey,
} from '../../src/identity/revoked-nodes.js';
import { temporaryFolder } from '../support/registry.js';

const leaf = (name: string, notBeforeMs: number, keyId = 'ab'.repeat(32)) =>
  ({ role: 'node', name, keyId, notBeforeMs }) as const;

test('revoked nodes: whatever was made until then is revoked, whatever begins in a later second is not', t => {
  const at = fc.integer({ min: 1_000, max: 4e12 });
  fc.assert(
    fc.property(at, at, (madeMs, nowMs) => {
      // A certificate tells the second.
      const notBeforeMs = Math.floor(madeMs / 1_000) * 1_000;
      const list = revokeNode(NONE_REVOKED, 'billing', nowMs);
      const revoked = isNodeRevoked(list, leaf('billing', notBeforeMs));
      if (madeMs <= nowMs) t.true(revoked);
      else if (notBeforeMs > nowMs) t.false(revoked);
      t.false(isNodeRevoked(list, leaf('erp', notBeforeMs)));
      t.false(isNodeRevoked(list, { ...leaf('billing', notBeforeMs), role: 'gateway' }));
    }),
  );
});

test('revoked nodes: the file keeps what several write at once, is private, and forgets what has ended', async t => {
  const path = join(await temporaryFolder(t), 'revoked.json');
  t.is((await readRevokedNodes(path)).nodes.size, 0);
  const nowMs = Date.now();
  const longAgo = nowMs - REVOCATION_NEEDED_MS - 2_000;
  await changeRevokedNodes(path, list => revokeNode(list, 'gone', longAgo), longAgo);
  t.true((await readRevokedNodes(path)).nodes.has('gone'));
  const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
  await Promise.all(names.map(name => changeRevokedNodes(path, list => revokeNode(list, name, nowMs))));
  const keyId = '0f'.repeat(32);
  const written = await changeRevokedNodes(path, list => revokeNodeKey(list, 'erp', keyId, nowMs));
  t.deepEqual([...written.nodes.keys()].sort(), names.sort());
  t.deepEqual(await readRevokedNodes(path), written);
  t.true(isNodeRevoked(written, leaf('erp', nowMs * 2, keyId)));
  t.is((await stat(path)).mode & 0o777, 0o600);
});

test('revoked nodes: a file that is none is an error, not an empty list', async t => {
  const path = join(await temporaryFolder(t), 'revoked.json');
  for (const text of ['', '{}', '{ "nodes": [{ "node": "x", "before": "soon" }], "keys": [] }']) {
    await writeFile(path, text);
    t.is((await t.throwsAsync<FedgateError>(readRevokedNodes(path)))?.reason, 'FILE_UNUSABLE');
  }
});
