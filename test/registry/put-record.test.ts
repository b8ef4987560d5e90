import { createPrivateKey } from 'node:crypto';
import test from 'ava';
import type { SignedRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import { createAuthority, type KeyAndCertificate } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { signRecord } from '../../src/registry/record.js';
import { readPairIn } from '../../src/registry/server/folder.js';
import { fetchOwnRecord, updateRecord } from '../../src/registry/update.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, joinOrg, memberClient, startTestRegistry } from '../support/registry.js';

interface Changes {
  readonly org?: string;
  readonly sequence: bigint;
  readonly authorities?: readonly string[];
  readonly signer?: KeyAndCertificate;
}

/** A record of ACME, signed by the CA in its folder unless the changes say otherwise. */
async function recordOf(
  folder: string,
  { org = 'ACME', sequence, authorities, signer }: Changes,
): Promise<SignedRecord> {
  const authority = await readPairIn(orgFolder(folder).authority);
  const content = {
    federation: FEDERATION,
    org: org as OrgName,
    sequence,
    authorities: authorities ?? [authority.certificate],
    gateways: [],
    timeMs: 1,
    approvers: [],
    approvalsRequired: 0,
  };
  return signRecord(content, createPrivateKey((signer ?? authority).key));
}

test('record: a member replaces its own, and everybody sees it', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const gateways = [
    { name: 'gw2', addresses: ['a.example:1', 'b.example:2'] },
    { name: 'gw1', addresses: ['[::1]:3'] },
  ];
  t.is((await updateRecord({ folder, gateways })).sequence, 2n);
  const seen = await fetchOwnRecord({ folder });
  t.deepEqual(seen.gateways, gateways);
  t.is((await updateRecord({ folder, gateways: [] })).sequence, 3n);
});

test("record: a member cannot replace another's, not even with the other's signature", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await joinOrg(t, registry, 'GLOBEX');
  const client = await memberClient(t, globex);
  const captured = await recordOf(acme, { sequence: 2n });
  await refused(t, 'IDENTITY_MISMATCH', () => client.putRecord(captured).then(() => undefined));
  const forged = await recordOf(globex, { org: 'ACME', sequence: 2n });
  await refused(t, 'IDENTITY_MISMATCH', () => client.putRecord(forged));
  t.is((await fetchOwnRecord({ folder: acme })).sequence, 1n);
});

test('record: one that was used, or is older, is refused', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const client = await memberClient(t, acme);
  const [second, third] = [await recordOf(acme, { sequence: 2n }), await recordOf(acme, { sequence: 3n })];
  await client.putRecord(second);
  await client.putRecord(third);
  for (const replay of [third, second]) {
    const error = await refused(t, 'RECORD_STALE', () => client.putRecord(replay));
    t.is(error.metadata.sequence, '3');
  }
  t.is((await fetchOwnRecord({ folder: acme })).sequence, 3n);
});

test('record: a CA is replaced in two steps, signed by the old one first', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const client = await memberClient(t, acme);
  const old = await readPairIn(orgFolder(acme).authority);
  const signer = await createAuthority(FEDERATION, 'ACME');
  const alone = await recordOf(acme, { sequence: 2n, authorities: [signer.certificate], signer });
  await refused(t, 'RECORD_INVALID', () => client.putRecord(alone));
  await client.putRecord(await recordOf(acme, { sequence: 2n, authorities: [old.certificate, signer.certificate] }));
  await client.putRecord(await recordOf(acme, { sequence: 3n, authorities: [signer.certificate], signer }));
  // The gateway's certificate is of the old CA, which counts no more.
  await refused(t, 'CERTIFICATE_UNTRUSTED', () => client.getSnapshot());
});

test("record: another member's CA cannot be taken in", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await readPairIn(orgFolder(await joinOrg(t, registry, 'GLOBEX')).authority);
  const own = await readPairIn(orgFolder(acme).authority);
  const client = await memberClient(t, acme);
  const record = await recordOf(acme, { sequence: 2n, authorities: [own.certificate, globex.certificate] });
  await refused(t, 'CA_ALREADY_REGISTERED', () => client.putRecord(record));
});
