import { createPrivateKey } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { renewGateway, revokeGateway } from '../../src/gateway/gateway-certificate.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { REVOCATION_NEEDED_MS } from '../../src/identity/revocation.js';
import { signRecord } from '../../src/registry/record.js';
import { MAX_REVOKED_KEYS, readRevocations } from '../../src/registry/record-revocations.js';
import { revokeKey } from '../../src/registry/revocation-changes.js';
import { readPairIn } from '../../src/registry/server/folder.js';
import { fetchOwnRecord, updateRecord } from '../../src/registry/update.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, joinOrg, memberClient, startTestRegistry } from '../support/registry.js';

const ACME = 'ACME' as OrgName;
const { signal } = new AbortController();
const id = (i: number): string => i.toString(16).padStart(64, '0');
const wire = (i: number, bytes = 32) => ({ sha256: Buffer.from(id(i), 'hex').subarray(0, bytes), timeMs: 1n });

test('record: what breaks a rule about revoked keys is told and does not count, the rest does', t => {
  const read = readRevocations([wire(1), wire(2, 31), wire(3)]);
  t.deepEqual([...read.keys.keys()], [id(1), id(3)]);
  t.regex(read.problem ?? '', /32 bytes/);
  t.regex(readRevocations([wire(1), wire(1)]).problem ?? '', /twice/);
  const many = readRevocations(Array.from({ length: MAX_REVOKED_KEYS + 1 }, (_, i) => wire(i)));
  t.is(many.keys.size, MAX_REVOKED_KEYS);
  t.regex(many.problem ?? '', /more than/);
});

test('record: at the bound no more keys are revoked, and those whose certificates have ended make room', t => {
  const nowMs = Date.now();
  const revokedAt = (timeMs: number) => {
    const keys = Array.from({ length: MAX_REVOKED_KEYS }, (_, i) => [id(i), { keyId: id(i), timeMs }] as const);
    return { org: ACME, revocations: { keys: new Map(keys), problem: undefined } };
  };
  const error = t.throws(() => revokeKey(revokedAt(nowMs), id(5_000), nowMs)) as FedgateError;
  t.is(error.reason, 'LIMIT_REACHED');
  t.is(revokeKey(revokedAt(nowMs), id(5), nowMs), undefined);
  const ended = revokeKey(revokedAt(nowMs - REVOCATION_NEEDED_MS), id(5_000), nowMs);
  t.deepEqual(ended?.revokedKeys, [{ keyId: id(5_000), timeMs: nowMs }]);
});

test('record: a renewed gateway has its earlier certificate revoked, which stays so in the records that follow', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const earlier = await memberClient(t, folder);
  await earlier.getSnapshot();
  const { previous } = await renewGateway({ folder, name: 'gw1' });
  const revoked = await revokeGateway({ folder, name: 'gw1', certificate: previous, signal });
  t.false(revoked.present);
  await refused(t, 'CERTIFICATE_REVOKED', () => earlier.getSnapshot());
  await updateRecord({ folder, gateways: [{ name: 'gw1', addresses: ['a.example:1'] }] });
  const { sequence, revocations } = await fetchOwnRecord({ folder });
  t.deepEqual([...revocations.keys.keys()], [revoked.keyId]);

  // So writes an earlier version, which does not know the field.
  const authority = await readPairIn(orgFolder(folder).authority);
  const forgetful = signRecord(
    {
      ...{ federation: FEDERATION, org: ACME, sequence: sequence + 1n, authorities: [authority.certificate] },
      ...{ gateways: [], timeMs: 1, approvers: [], approvalsRequired: 0 },
    },
    createPrivateKey(authority.key),
  );
  const client = await memberClient(t, folder);
  await refused(t, 'RECORD_INVALID', () => client.putRecord(forgetful));
  const nodes = join(orgFolder(folder).authority, 'tls.crt');
  await refused(t, 'CERTIFICATE_UNTRUSTED', () => revokeGateway({ folder, name: 'gw1', certificate: nodes, signal }));
});
