import { createPrivateKey, randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { SignedRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import type { JoinRequest } from '../../gen/ts/fedgate/registry/v1/registry_service.js';
import { type Authority, createAuthority } from '../../src/identity/issue.js';
import { type OrgName, parseOrgName } from '../../src/identity/names.js';
import { orgFolder } from '../../src/identity/org-folder.js';
import { signDetached } from '../../src/identity/signing.js';
import { RegistryClient } from '../../src/registry/client.js';
import { decodeInvitation, encodeInvitation, type Invitation } from '../../src/registry/invitation.js';
import { joinFederation } from '../../src/registry/join.js';
import { joinProofBytes } from '../../src/registry/join-proof.js';
import { fetchPinnedCertificate } from '../../src/registry/pinned-certificate.js';
import { signRecord } from '../../src/registry/record.js';
import { readPairIn } from '../../src/registry/server/folder.js';
import { refused } from '../support/reasons.js';
import {
  FEDERATION,
  joinOrg,
  startTestRegistry,
  type TestRegistry,
  type TestScope,
  temporaryFolder,
} from '../support/registry.js';

const HOUR_MS = 3_600_000;

/** A client that has no certificate yet. */
async function anonymous(t: TestScope, { addresses, fingerprint, federation }: Invitation): Promise<RegistryClient> {
  const certificate = await fetchPinnedCertificate(addresses[0] ?? '', fingerprint);
  const client = new RegistryClient({ federation, addresses, certificate });
  t.teardown(() => client.close());
  return client;
}

function firstRecord(authority: Authority, org: string, sequence = 1n): SignedRecord {
  const content = {
    federation: FEDERATION,
    org: org as OrgName,
    sequence,
    authorities: [authority.certificate],
    gateways: [],
    timeMs: 1,
    approvers: [],
    approvalsRequired: 0,
  };
  return signRecord(content, createPrivateKey(authority.key));
}

/** The request of an honest joiner, to be sent as it is or spoilt. */
async function joinRequest(
  client: RegistryClient,
  { org, secret }: Invitation,
  authority: Authority,
  record = firstRecord(authority, org),
): Promise<JoinRequest> {
  const { challenge } = await client.createJoinChallenge({ invitationSecret: secret, org });
  const proof = signDetached('join', createPrivateKey(authority.key), joinProofBytes(challenge, secret, record));
  return { invitationSecret: secret, challenge, proof, record };
}

async function prepare(t: TestScope, registry: TestRegistry, org: string) {
  const invitation = decodeInvitation(await registry.invite(org));
  const client = await anonymous(t, invitation);
  return { invitation, client, authority: await createAuthority(FEDERATION, org) };
}

test('join: a reused code is refused, by name, and nothing of the newcomer is left registered', async t => {
  const registry = await startTestRegistry(t);
  const code = await registry.invite('ACME');
  const first = await temporaryFolder(t);
  await joinFederation({ code, folder: first });
  const error = await refused(t, 'INVITATION_USED', async () =>
    joinFederation({ code, folder: await temporaryFolder(t) }),
  );
  t.regex(error.message, /ACME was used already/);
  const { members } = await registry.admin.list();
  const own = await readFile(join(orgFolder(first).authority, 'tls.crt'), 'utf8');
  t.is(members.length, 1);
  t.true(
    Buffer.from(members[0]?.record?.record ?? []).includes(
      Buffer.from(own.replace(/-----[^-]+-----|\s/g, ''), 'base64'),
    ),
  );
});

test('join: an expired code is refused, by name', async t => {
  let nowMs = Date.now();
  const registry = await startTestRegistry(t, { now: () => nowMs });
  const code = await registry.invite('ACME');
  nowMs += 25 * HOUR_MS;
  const error = await refused(t, 'INVITATION_EXPIRED', async () =>
    joinFederation({ code, folder: await temporaryFolder(t) }),
  );
  t.regex(error.message, /the invitation for ACME ended 20/);
  t.deepEqual((await registry.admin.list()).invitations, []);
});

test('join: a truncated code is refused before anything is made or asked', async t => {
  const registry = await startTestRegistry(t);
  const code = await registry.invite('ACME');
  const folder = await temporaryFolder(t);
  await refused(t, 'INVITATION_MALFORMED', () => joinFederation({ code: code.slice(0, -5), folder }));
  t.deepEqual(await readdir(folder), []);
});

test('join: a code of another registry is refused: by its certificate, or by its secret', async t => {
  const [here, elsewhere] = [await startTestRegistry(t), await startTestRegistry(t)];
  const foreign = decodeInvitation(await elsewhere.invite('ACME'));
  const folder = await temporaryFolder(t);
  const redirected = encodeInvitation({ ...foreign, addresses: [here.address] });
  await refused(t, 'REGISTRY_UNTRUSTED', () => joinFederation({ code: redirected, folder }));
  t.deepEqual(await readdir(folder), []);
  const own = decodeInvitation(await here.invite('GLOBEX'));
  const spliced = encodeInvitation({ ...own, secret: foreign.secret });
  await refused(t, 'INVITATION_UNKNOWN', () => joinFederation({ code: spliced, folder }));
});

test('join: a code for one name does not open another, and a newer code ends the older', async t => {
  const registry = await startTestRegistry(t);
  const older = await registry.invite('ACME');
  await registry.invite('GLOBEX');
  const renamed = encodeInvitation({ ...decodeInvitation(older), org: parseOrgName('GLOBEX', 'org') });
  await refused(t, 'INVITATION_UNKNOWN', async () =>
    joinFederation({ code: renamed, folder: await temporaryFolder(t) }),
  );
  await registry.invite('ACME');
  await refused(t, 'INVITATION_UNKNOWN', async () => joinFederation({ code: older, folder: await temporaryFolder(t) }));
});

test('join: the next address is tried when nobody is at the first', async t => {
  const registry = await startTestRegistry(t);
  const invitation = decodeInvitation(await registry.invite('ACME'));
  const code = encodeInvitation({ ...invitation, addresses: ['127.0.0.1:1', registry.address] });
  t.like(await joinFederation({ code, folder: await temporaryFolder(t) }), { org: 'ACME' });
});

test('join: a registry that does not answer is REGISTRY_UNREACHABLE', async t => {
  const registry = await startTestRegistry(t);
  const code = await registry.invite('ACME');
  await registry.stop();
  await refused(t, 'REGISTRY_UNREACHABLE', async () => joinFederation({ code, folder: await temporaryFolder(t) }));
});

test('join: after a lost answer the same command carries on with the same keys', async t => {
  const registry = await startTestRegistry(t);
  const code = await registry.invite('ACME');
  const folder = await temporaryFolder(t);
  await joinFederation({ code, folder });
  // As it is after the answer was lost: the keys are there, the membership is not.
  const retried = await temporaryFolder(t);
  for (const of of [(f: string) => orgFolder(f).authority, (f: string) => orgFolder(f).gateway('gw1')]) {
    await mkdir(of(retried), { recursive: true });
    for (const file of ['tls.key', 'tls.crt']) await copyFile(join(of(folder), file), join(of(retried), file));
  }
  t.like(await joinFederation({ code, folder: retried }), { org: 'ACME', federation: FEDERATION });
  t.deepEqual(await readPairIn(orgFolder(retried).authority), await readPairIn(orgFolder(folder).authority));
  t.is((await registry.admin.list()).members.length, 1);
});

test('join: a removed member cannot come back by repeating its join', async t => {
  const registry = await startTestRegistry(t);
  const code = await registry.invite('ACME');
  const folder = await temporaryFolder(t);
  await joinFederation({ code, folder });
  await registry.admin.setState('ACME', 'removed');
  await refused(t, 'ORG_INACTIVE', () => joinFederation({ code, folder }));
});

test('join: a folder that belongs to another membership is left alone', async t => {
  const registry = await startTestRegistry(t);
  const folder = await joinOrg(t, registry, 'ACME');
  const code = await registry.invite('GLOBEX');
  const error = await refused(t, 'FILE_UNUSABLE', () => joinFederation({ code, folder }));
  t.regex(error.message, /already belongs to ACME/);
  const halfDone = await temporaryFolder(t);
  for (const of of [(f: string) => orgFolder(f).authority, (f: string) => orgFolder(f).gateway('gw1')]) {
    await mkdir(of(halfDone), { recursive: true });
    for (const file of ['tls.key', 'tls.crt']) await copyFile(join(of(folder), file), join(of(halfDone), file));
  }
  await refused(t, 'FILE_UNUSABLE', () => joinFederation({ code, folder: halfDone }));
});

test('join: a captured request that is sent again is refused', async t => {
  const registry = await startTestRegistry(t);
  const { invitation, client, authority } = await prepare(t, registry, 'ACME');
  const request = await joinRequest(client, invitation, authority);
  await client.join(request);
  await refused(t, 'REPLAYED', () => client.join(request));
});

test('join: a captured invitation is of no use without the CA key, nor a captured proof with another challenge', async t => {
  const registry = await startTestRegistry(t);
  const { invitation, client, authority } = await prepare(t, registry, 'ACME');
  const captured = await joinRequest(client, invitation, authority);
  const { challenge } = await client.createJoinChallenge({ invitationSecret: invitation.secret, org: 'ACME' });
  await refused(t, 'PROOF_INVALID', () => client.join({ ...captured, challenge }));
  const thief = await createAuthority(FEDERATION, 'ACME');
  const { proof } = await joinRequest(client, invitation, thief);
  const again = await joinRequest(client, invitation, authority);
  await refused(t, 'PROOF_INVALID', () => client.join({ ...again, proof }));
  await refused(t, 'PROOF_INVALID', () => client.join({ ...captured, challenge: randomBytes(32) }));
  t.deepEqual((await registry.admin.list()).members, []);
});

test('join: a challenge is good for a minute', async t => {
  let nowMs = Date.now();
  const registry = await startTestRegistry(t, { now: () => nowMs });
  const { invitation, client, authority } = await prepare(t, registry, 'ACME');
  const request = await joinRequest(client, invitation, authority);
  nowMs += 60_001;
  const error = await refused(t, 'PROOF_INVALID', () => client.join(request));
  t.regex(error.message, /60 seconds/);
});

test("join: first records that are not the invited organisation's own are refused", async t => {
  const registry = await startTestRegistry(t);
  const { invitation, client, authority } = await prepare(t, registry, 'ACME');
  const records = [
    firstRecord(authority, 'GLOBEX'),
    firstRecord(authority, 'ACME', 2n),
    { record: randomBytes(80), signature: randomBytes(70) },
    { ...firstRecord(authority, 'ACME'), signature: new Uint8Array() },
  ];
  for (const record of records) {
    const request = await joinRequest(client, invitation, authority, record);
    await refused(t, 'RECORD_INVALID', () => client.join(request));
  }
  await refused(t, 'FIELD_INVALID', () => client.join({ ...EMPTY, challenge: randomBytes(32) }));
  t.deepEqual((await registry.admin.list()).members, []);
});

const EMPTY = {
  invitationSecret: new Uint8Array(),
  challenge: new Uint8Array(),
  proof: new Uint8Array(),
  record: undefined,
};

test("join: another member's CA key is refused", async t => {
  const registry = await startTestRegistry(t);
  const acme = await joinOrg(t, registry, 'ACME');
  const authority = await readPairIn(orgFolder(acme).authority);
  const { invitation, client } = await prepare(t, registry, 'GLOBEX');
  const request = await joinRequest(client, invitation, authority);
  await refused(t, 'CA_ALREADY_REGISTERED', () => client.join(request));
});

test('join: a name is given once', async t => {
  const registry = await startTestRegistry(t);
  await joinOrg(t, registry, 'ACME');
  await refused(t, 'ORG_EXISTS', () => registry.invite('ACME'));
  await registry.admin.setState('ACME', 'removed');
  await refused(t, 'ORG_EXISTS', () => registry.invite('ACME'));
  await refused(t, 'FIELD_INVALID', () => registry.invite('REGISTRY'));
  await refused(t, 'FIELD_INVALID', () => registry.invite('acme'));
  await refused(t, 'FIELD_INVALID', () => registry.admin.createInvitation('GLOBEX', 31 * 24 * 3600));
});

test('join: guessing invitations is slowed down, and who has a good one gets in all the while', async t => {
  const nowMs = Date.now();
  const registry = await startTestRegistry(t, { now: () => nowMs });
  const { invitation, client, authority } = await prepare(t, registry, 'ACME');
  const guess = () => client.createJoinChallenge({ invitationSecret: randomBytes(16), org: 'ACME' });
  for (let i = 0; i < 20; i++) await refused(t, 'INVITATION_UNKNOWN', guess);
  const error = await refused(t, 'LIMIT_REACHED', guess);
  t.true((error.retryAfterMs ?? 0) > 0);
  await client.join(await joinRequest(client, invitation, authority));
  t.is((await registry.admin.list()).members.length, 1);
});

test('join: challenges that are out at once are limited', async t => {
  const nowMs = Date.now();
  const registry = await startTestRegistry(t, { now: () => nowMs });
  const { invitation, client } = await prepare(t, registry, 'ACME');
  const ask = () => client.createJoinChallenge({ invitationSecret: invitation.secret, org: 'ACME' });
  for (let i = 0; i < 10; i++) await ask();
  await refused(t, 'LIMIT_REACHED', ask);
});
