import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import test from 'ava';
import { SnapshotApprovers } from '../../src/gateway/approver-directory.js';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import type { Approver } from '../../src/identity/approver.js';
import { Directory } from '../../src/registry/directory.js';
import { makeApprover } from '../support/approvers.js';
import { refused } from '../support/reasons.js';
import { FEDERATION, type TestScope, temporaryFolder } from '../support/registry.js';
import { LIFETIME_MS, makeOrg, makeSigningRegistry, member, START_MS } from '../support/snapshots.js';

const acme = await makeOrg('ACME');
const globex = await makeOrg('GLOBEX');
const registry = makeSigningRegistry();
const [alice, bob, gina] = [makeApprover('alice'), makeApprover('bob'), makeApprover('gina')];

async function open(
  t: TestScope,
): Promise<{ directory: Directory; approvers: SnapshotApprovers; clock: { now: number } }> {
  const clock = { now: START_MS };
  const path = join(await temporaryFolder(t), 's.bin');
  const directory = await Directory.load(path, {
    federation: FEDERATION,
    snapshotKey: registry.snapshotKey,
    now: () => clock.now,
  });
  t.teardown(() => directory.flush());
  return { directory, approvers: new SnapshotApprovers(directory), clock };
}

const names = (approvers: readonly Approver[] | undefined): string[] => (approvers ?? []).map(({ name }) => name);

test('approver directory: knows the members by their records, and tells of changes', async t => {
  const { directory, approvers } = await open(t);
  t.is(approvers.of('ACME'), undefined);
  let changes = 0;
  const stop = approvers.onChange(() => changes++);
  const record = acme.record({ approvers: [alice, bob], approvalsRequired: 2 });
  directory.offer(registry.sign(1n, [member(acme, record), member(globex, globex.record())]));
  t.like(approvers.of('ACME'), { org: 'ACME', active: true, required: 2 });
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['alice', 'bob']);
  t.like(approvers.of('GLOBEX'), { active: true, required: 1 });
  t.is(approvers.of('INITECH'), undefined);
  t.deepEqual(
    [...approvers.all()].map(({ org }): string => org),
    ['ACME', 'GLOBEX'],
  );
  directory.offer(registry.sign(2n, [member(acme, record, 'suspended'), member(globex, globex.record())]));
  t.like(approvers.of('ACME'), { active: false });
  t.is(changes, 2);
  stop();
});

test('approver directory: nobody is active once the snapshot has ended', async t => {
  const { directory, approvers, clock } = await open(t);
  directory.offer(registry.sign(1n, [member(acme, acme.record({ approvers: [alice] }))]));
  t.true(approvers.of('ACME')?.active);
  clock.now += LIFETIME_MS;
  t.false(approvers.of('ACME')?.active);
});

test('approver directory: a key that a lying registry lets two members have counts for nobody', async t => {
  const { directory, approvers } = await open(t);
  const both = [
    member(acme, acme.record({ approvers: [alice, bob] })),
    member(globex, globex.record({ approvers: [gina, { ...alice, name: 'gus' }] }), 'removed'),
  ];
  directory.offer(registry.sign(1n, both));
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['bob']);
  t.deepEqual(names(approvers.of('GLOBEX')?.approvers), ['gina']);
});

test('approver directory: a key that comes into question later stops counting with that snapshot', async t => {
  const { directory, approvers } = await open(t);
  const record = acme.record({ approvers: [alice, bob] });
  directory.offer(registry.sign(1n, [member(acme, record), member(globex, globex.record())]));
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['alice', 'bob']);
  const copied = globex.record({ sequence: 2n, approvers: [bob] });
  directory.offer(registry.sign(2n, [member(acme, record), member(globex, copied)]));
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['alice']);
});

test("approver directory: a key that is another member's CA key counts for nobody", async t => {
  const { directory, approvers } = await open(t);
  const profile = member(globex, globex.record());
  const spki = new X509Certificate(globex.authority.certificate).publicKey.export({ type: 'spki', format: 'der' });
  const stolen = { ...alice, key: readApprovalKey(spki) };
  directory.offer(registry.sign(1n, [member(acme, acme.record({ approvers: [stolen, bob] })), profile]));
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['bob']);
});

test('approver directory: a snapshot in which a key vanished, or a revocation was taken back, is refused', async t => {
  const { directory, approvers } = await open(t);
  const gone = makeApprover('gone', { revocation: { timeMs: 2_000, compromised: true } });
  directory.offer(registry.sign(1n, [member(acme, acme.record({ approvers: [alice, gone] }))]));
  for (const next of [[alice], [alice, { ...gone, revocation: undefined }]]) {
    const record = acme.record({ sequence: 2n, approvers: next });
    await refused(t, 'SNAPSHOT_INVALID', () => directory.offer(registry.sign(2n, [member(acme, record)])));
  }
  t.deepEqual(names(approvers.of('ACME')?.approvers), ['alice', 'gone']);
});
