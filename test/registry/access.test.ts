import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { createAuthority, issueLeaf, type KeyAndCertificate } from '../../src/identity/issue.js';
import { parseOrgName } from '../../src/identity/names.js';
import { orgFolder, readMembership } from '../../src/identity/org-folder.js';
import { RegistryAdminClient } from '../../src/registry/admin-client.js';
import { RegistryClient } from '../../src/registry/client.js';
import { readPairIn, registryFolder } from '../../src/registry/server/folder.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, joinOrg, memberClient, startTestRegistry } from '../support/registry.js';

const ACME = parseOrgName('ACME', 'org');
const GLOBEX = parseOrgName('GLOBEX', 'org');
const authorityOf = (folder: string): Promise<KeyAndCertificate> => readPairIn(orgFolder(folder).authority);

/** Every call that needs a member's gateway. */
const memberCalls = (client: RegistryClient): readonly (() => Promise<unknown>)[] => [
  () => client.getSnapshot(),
  () => client.getMember('ACME'),
  () => client.listMembers(0, ''),
  () => client.putRecord({ record: new Uint8Array(), signature: new Uint8Array() }),
  () => client.watchSnapshot(0n).next(),
];

test('access: every call but joining needs a certificate', async t => {
  const registry = await startTestRegistry(t);
  const { federation, registry: connection } = await readMembership(await joinOrg(t, registry, 'ACME'));
  const { addresses, certificate } = connection;
  const client = new RegistryClient({ federation, addresses, certificate });
  t.teardown(() => client.close());
  for (const call of memberCalls(client)) await refused(t, 'CERTIFICATE_MISSING', call);
});

test('access: nodes and approvers, even of a member, are refused', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const authority = await authorityOf(folder);
  for (const role of ['node', 'approver'] as const) {
    const identity = await issueLeaf(authority, FEDERATION, { org: ACME, role, name: 'n1' });
    const client = await memberClient(t, folder, { identity });
    for (const call of memberCalls(client)) await refused(t, 'CERTIFICATE_ROLE', call);
  }
});

test("access: one member's CA cannot speak for another", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  await joinOrg(t, registry, 'GLOBEX');
  const identity = await issueLeaf(await authorityOf(acme), FEDERATION, { org: GLOBEX, role: 'gateway', name: 'gw1' });
  const client = await memberClient(t, acme, { identity });
  for (const call of memberCalls(client)) await refused(t, 'CERTIFICATE_UNTRUSTED', call);
});

test('access: a stranger with a CA of its own is nobody, whatever name it takes', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const authority = await createAuthority(FEDERATION, 'ACME');
  const identity = await issueLeaf(authority, FEDERATION, { org: ACME, role: 'gateway', name: 'gw1' });
  const client = await memberClient(t, acme, { identity });
  for (const call of memberCalls(client)) await refused(t, 'CERTIFICATE_MISSING', call);
});

test('access: a suspended member is told so, comes back when resumed, and never when removed', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const client = await memberClient(t, acme);
  await client.getSnapshot();
  await registry.admin.setState('ACME', 'suspended');
  for (const call of memberCalls(client)) await refused(t, 'ORG_INACTIVE', call);
  const fresh = await memberClient(t, acme);
  await refused(t, 'ORG_INACTIVE', () => fresh.getSnapshot());
  await registry.admin.setState('ACME', 'active');
  await t.notThrowsAsync(client.getSnapshot());
  await registry.admin.setState('ACME', 'removed');
  await refused(t, 'ORG_INACTIVE', () => client.getSnapshot());
  await refused(t, 'ORG_REMOVED', () => registry.admin.setState('ACME', 'active'));
  await refused(t, 'ORG_UNKNOWN', () => registry.admin.setState('NOBODY', 'suspended'));
});

test('access: members look each other up, a page at a time', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME', { addresses: ['a.example:1', 'b.example:2'] });
  for (const org of ['INITECH', 'GLOBEX']) await joinOrg(t, registry, org);
  const client = await memberClient(t, acme);
  const first = await client.listMembers(2, '');
  t.deepEqual(
    first.members.map(({ org }) => org),
    ['ACME', 'GLOBEX'],
  );
  const second = await client.listMembers(2, first.nextPageToken);
  t.deepEqual(
    second.members.map(({ org }) => org),
    ['INITECH'],
  );
  t.is(second.nextPageToken, '');
  t.is((await client.getMember('GLOBEX')).org, 'GLOBEX');
  await refused(t, 'ORG_UNKNOWN', () => client.getMember('NOBODY'));
  await refused(t, 'FIELD_INVALID', () => client.listMembers(1, 'not a token'));
  await refused(t, 'FIELD_INVALID', () => client.listMembers(-1, ''));
});

test('access: the admin port is closed to members, strangers, and who shows nothing', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const { federation, registry: connection } = await readMembership(acme);
  const stranger = await createAuthority(FEDERATION, 'REGISTRY');
  const operator = { org: 'REGISTRY' as never, role: 'node', name: 'operator' } as const;
  const identities = [
    undefined,
    await readPairIn(orgFolder(acme).gateway('gw1')),
    await issueLeaf(stranger, FEDERATION, operator),
    await issueLeaf(await authorityOf(acme), FEDERATION, operator),
  ];
  for (const identity of identities) {
    const admin = new RegistryAdminClient({
      federation,
      addresses: [registry.adminAddress],
      certificate: connection.certificate,
      identity,
    });
    t.teardown(() => admin.close());
    const error = await t.throwsAsync(admin.list());
    t.true(
      ['REGISTRY_UNREACHABLE', 'REGISTRY_UNTRUSTED', 'DEADLINE_EXCEEDED'].includes(
        (error as { reason?: string }).reason ?? '',
      ),
    );
    await t.throwsAsync(admin.setState('ACME', 'removed'));
  }
  t.like((await registry.admin.list()).members[0], { org: 'ACME', state: 1 });
});

test("access: the operator's certificate is nobody on the public port, nor are admin calls there", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const identity = await readPairIn(registryFolder(registry.folder).operator);
  const client = await memberClient(t, acme, { identity });
  await refused(t, 'CERTIFICATE_MISSING', () => client.getSnapshot());
  const { certificate } = (await readMembership(acme)).registry;
  const admin = new RegistryAdminClient({
    federation: FEDERATION,
    addresses: [registry.address],
    certificate,
    identity,
  });
  t.teardown(() => admin.close());
  await refused(t, 'FEATURE_UNSUPPORTED', () => admin.list());
});

test('access: a server with another certificate is not spoken to', async t => {
  const [here, elsewhere] = [await startTestRegistry(t), await startTestRegistry(t)];
  const acme = await joinOrg(t, here, 'ACME');
  const { certificate } = (await readMembership(acme)).registry;
  const identity = await readPairIn(orgFolder(acme).gateway('gw1'));
  const client = new RegistryClient({ federation: FEDERATION, addresses: [elsewhere.address], certificate, identity });
  t.teardown(() => client.close());
  await refused(t, 'REGISTRY_UNTRUSTED', () => client.getSnapshot());
});

test('registry: its folder and database hold no key of a member', async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const database = await readFile(join(registryFolder(registry.folder).state, 'data.mdb'));
  const { key, certificate } = await authorityOf(acme);
  const body = (pem: string): Buffer => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  t.true(database.includes(body(certificate)));
  t.is(new X509Certificate(certificate).ca, true);
  // The private scalar stands at a fixed place in PKCS#8 of a P-256 key.
  t.false(database.includes(body(key).subarray(36, 68)));
});
