import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import type { Approver } from '../../src/identity/approver.js';
import { createAuthority } from '../../src/identity/issue.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { signDetached } from '../../src/identity/signing.js';
import { decodeInvitation } from '../../src/registry/invitation.js';
import { joinProofBytes } from '../../src/registry/join-proof.js';
import { signRecord } from '../../src/registry/record.js';
import { readPairIn } from '../../src/registry/server/folder.js';
import { type ApproverSettings, fetchOwnRecord, updateApprovers, updateRecord } from '../../src/registry/update.js';
import { makeApprover } from '../support/approvers.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, joinOrg, memberClient, startTestRegistry } from '../support/registry.js';

const ids = (approvers: readonly Approver[]): string[] => approvers.map(({ key }) => key.id);

/** Adds approvers to those in the record. */
const add = (folder: string, ...approvers: readonly Approver[]) =>
  updateApprovers({
    folder,
    change: previous => ({ ...previous, approvers: [...previous.approvers, ...approvers] }),
  });

/** The key of a certificate, as an approver would offer it. */
const approverOf = (certificate: string): Approver => ({
  ...makeApprover('sneaky'),
  key: readApprovalKey(new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' })),
});

test('approvers: a member registers keys, and they stay when it changes its gateways', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const [alice, bob] = [makeApprover('alice'), makeApprover('bob')];
  await add(folder, alice);
  await add(folder, bob);
  await updateApprovers({ folder, change: ({ approvers }) => ({ approvers, approvalsRequired: 2 }) });
  await updateRecord({ folder, gateways: [{ name: 'gw1', addresses: ['a.example:1'] }] });
  const seen = await fetchOwnRecord({ folder });
  t.deepEqual(ids(seen.approvers), ids([alice, bob]));
  t.like(seen, { approvalsRequired: 2, sequence: 5n });
  t.is(seen.gateways.length, 1);
  // And over a restart of the registry.
  await registry.stop();
  await registry.start();
  t.deepEqual(ids((await fetchOwnRecord({ folder })).approvers), ids([alice, bob]));
});

test("approvers: another member's key is refused, also when revoked and when its member was removed", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await joinOrg(t, registry, 'GLOBEX');
  const [alice, gone] = [
    makeApprover('alice'),
    makeApprover('gone', { revocation: { timeMs: 2_000, compromised: true } }),
  ];
  await add(acme, alice, gone);
  const other: Approver = { ...alice, name: 'bob' };
  const error = await refused(t, 'APPROVER_KEY_TAKEN', () => add(globex, other));
  t.deepEqual(error.metadata, { approver: 'bob', keyId: alice.key.id });
  await refused(t, 'APPROVER_KEY_TAKEN', () => add(globex, { ...gone, revocation: undefined }));
  await registry.admin.setState('ACME', 'removed');
  await refused(t, 'APPROVER_KEY_TAKEN', () => add(globex, other));
  t.is((await fetchOwnRecord({ folder: globex })).sequence, 1n);
  await add(globex, makeApprover('bob'));
});

test("approvers: a CA key is refused as approval key, another's and its own", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await joinOrg(t, registry, 'GLOBEX');
  const ca = async (folder: string) => approverOf((await readPairIn(orgFolder(folder).authority)).certificate);
  const theirs = await ca(globex);
  await refused(t, 'APPROVER_KEY_TAKEN', () => add(acme, theirs));
  const own = await ca(acme);
  await refused(t, 'RECORD_INVALID', () => add(acme, own));
});

test("approvers: another's approval key is refused as CA, when a record is put and when somebody joins", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const globex = await joinOrg(t, registry, 'GLOBEX');
  const authority = await createAuthority(FEDERATION, 'GLOBEX');
  await add(acme, approverOf(authority.certificate));

  const own = await readPairIn(orgFolder(globex).authority);
  const usual = { federation: FEDERATION, gateways: [], timeMs: 1, approvers: [], approvalsRequired: 0 };
  const { org } = await fetchOwnRecord({ folder: globex });
  const authorities = [own.certificate, authority.certificate];
  const record = signRecord({ ...usual, org, sequence: 2n, authorities }, createPrivateKey(own.key));
  const client = await memberClient(t, globex);
  await refused(t, 'CA_ALREADY_REGISTERED', () => client.putRecord(record));

  const join = async (approvers: readonly Approver[], ca: typeof authority): Promise<unknown> => {
    const { secret, org: initech } = decodeInvitation(await registry.invite('INITECH'));
    const first = signRecord(
      { ...usual, org: initech, sequence: 1n, authorities: [ca.certificate], approvers },
      createPrivateKey(ca.key),
    );
    const { challenge } = await client.createJoinChallenge({ invitationSecret: secret, org: initech });
    const proof = signDetached('join', createPrivateKey(ca.key), joinProofBytes(challenge, secret, first));
    return client.join({ invitationSecret: secret, challenge, proof, record: first });
  };
  await refused(t, 'CA_ALREADY_REGISTERED', () => join([], authority));
  const initech = await createAuthority(FEDERATION, 'INITECH');
  await refused(t, 'APPROVER_KEY_TAKEN', () => join([approverOf(authority.certificate)], initech));
  await t.notThrowsAsync(() => join([makeApprover('ida')], initech));
});

test('approvers: the TLS key of a gateway or node is refused as approval key', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const gateway = await readPairIn(orgFolder(folder).gateway('gw1'));
  const error = await refused(t, 'APPROVER_KEY_TAKEN', () => add(folder, approverOf(gateway.certificate)));
  t.true(error.message.endsWith(join('gateways', 'gw1', 'tls.crt')), error.message);
});

test('approvers: what takes a key away or a revocation back is refused here, and by the registry', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const alice = makeApprover('alice');
  await add(folder, { ...alice, revocation: { timeMs: 2_000, compromised: true } });
  for (const approvers of [[], [alice], [{ ...alice, revocation: { timeMs: 2_000, compromised: false } }]]) {
    const change = (): ApproverSettings => ({ approvers, approvalsRequired: 0 });
    await refused(t, 'RECORD_INVALID', () => updateApprovers({ folder, change }));
    const { org } = await fetchOwnRecord({ folder });
    const { key, certificate } = await readPairIn(orgFolder(folder).authority);
    const content = { federation: FEDERATION, org, sequence: 3n, authorities: [certificate], gateways: [], timeMs: 1 };
    const client = await memberClient(t, folder);
    await refused(t, 'RECORD_INVALID', () =>
      client.putRecord(signRecord({ ...content, ...change() }, createPrivateKey(key))),
    );
  }
});
