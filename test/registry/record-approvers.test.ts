import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { OrgRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../../src/errors.js';
import { type ApprovalKey, readApprovalKey } from '../../src/identity/approval-key.js';
import type { Approver } from '../../src/identity/approver.js';
import { checkSuccession, type RecordContent, readRecord } from '../../src/registry/record.js';
import { makeApprover } from '../support/approvers.js';
import { FEDERATION, temporaryFolder } from '../support/registry.js';
import { makeOrg } from '../support/snapshots.js';

const acme = await makeOrg('ACME');
const [alice, bob, carol] = [makeApprover('alice'), makeApprover('bob', { ed25519: true }), makeApprover('carol')];
const read = (changes: Partial<RecordContent>) => readRecord(acme.record(changes), FEDERATION);
const plain = ({ name, key, addMs, revocation }: Approver) => ({ name, id: key.id, addMs, revocation });

function refusal(step: () => unknown): string {
  try {
    step();
    return 'none';
  } catch (error) {
    if (error instanceof FedgateError && error.reason === 'RECORD_INVALID') return error.message;
    throw error;
  }
}

test('approvers: what was signed is read, revocations included', t => {
  const gone = makeApprover('dave', { revocation: { timeMs: 2_000, compromised: true } });
  const profile = read({ approvers: [alice, bob, gone], approvalsRequired: 2 });
  t.deepEqual(profile.approvers.map(plain), [alice, bob, gone].map(plain));
  t.is(profile.approvalsRequired, 2);
});

test('approvers: a record of before there were any is read, and requires one', t => {
  const { record } = acme.record();
  const { approvers, approvalsRequired, ...old } = OrgRecord.decode(record);
  t.deepEqual([approvers, approvalsRequired], [[], 0]);
  // Neither field leaves a trace in the bytes, so they are those of an old record.
  t.deepEqual(OrgRecord.encode(OrgRecord.fromPartial(old)).finish(), record);
  t.like(read({}), { approvers: [], approvalsRequired: 1 });
});

const weak = (hex: string): ApprovalKey => {
  const spki = Buffer.from(hex, 'hex');
  return { ...alice.key, spki };
};
const caKey = readApprovalKey(
  new X509Certificate(acme.authority.certificate).publicKey.export({ type: 'spki', format: 'der' }),
);
const revoked = (name: string): Approver => makeApprover(name, { revocation: { timeMs: 2_000, compromised: false } });

const bad: readonly (readonly [string, RegExp, Partial<RecordContent>])[] = [
  ['65 keys', /more than 64/, { approvers: Array.from({ length: 65 }, (_, i) => makeApprover(`a${i}`)) }],
  ['a key twice', /twice/, { approvers: [alice, alice] }],
  ['one key under two names', /twice/, { approvers: [alice, { ...alice, name: 'bob' }] }],
  ['a bad name', /not an approver's name/, { approvers: [{ ...alice, name: 'Alice Smith' }] }],
  ['an empty name', /not an approver's name/, { approvers: [{ ...alice, name: '' }] }],
  ['its own CA key', /key of its CA/, { approvers: [{ ...alice, key: caKey }] }],
  [
    'a key of small order',
    /small order/,
    { approvers: [{ ...alice, key: weak(`302a300506032b657003210001${'00'.repeat(31)}`) }] },
  ],
  ['a key that is none', /neither/, { approvers: [{ ...alice, key: weak('00') }] }],
  ['no time', /the time 0/, { approvers: [{ ...alice, addMs: 0 }] }],
  ['a time before 1970', /the time -5/, { approvers: [{ ...alice, addMs: -5 }] }],
  ['a time that no date can hold', /which is none/, { approvers: [{ ...alice, addMs: 8_640_000_000_000_001 }] }],
  [
    'a revocation without time',
    /the time 0/,
    { approvers: [{ ...alice, revocation: { timeMs: 0, compromised: true } }] },
  ],
  ['2 required and nobody there', /requires 2 .* 0 approvers/, { approvalsRequired: 2 }],
  ['3 required of two', /requires 3/, { approvers: [alice, bob], approvalsRequired: 3 }],
  [
    '2 required of one with two keys',
    /requires 2/,
    { approvers: [alice, { ...bob, name: 'alice' }], approvalsRequired: 2 },
  ],
  ['2 required of one and a revoked one', /requires 2/, { approvers: [alice, revoked('bob')], approvalsRequired: 2 }],
  ['2³² − 1 required', /requires/, { approvers: [alice], approvalsRequired: 0xffff_ffff }],
];

for (const [what, pattern, changes] of bad) {
  test(`approvers: a record is refused with ${what}`, t => {
    t.regex(
      refusal(() => read(changes)),
      pattern,
    );
  });
}

test('approvers: 64 keys, and one that is revoked with its name still there, are taken', t => {
  const many = Array.from({ length: 64 }, (_, i) => makeApprover(`a${i}`));
  t.is(read({ approvers: many, approvalsRequired: 64 }).approvers.length, 64);
  t.is(read({ approvers: [revoked('alice'), alice, bob], approvalsRequired: 2 }).approvalsRequired, 2);
  t.is(read({ approvers: [revoked('alice')], approvalsRequired: 1 }).approvalsRequired, 1);
});

const makeKey = (): string | Buffer =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });

test('approvers: its CA key is told also when the certificate holds the point compressed', async t => {
  const folder = await temporaryFolder(t);
  const [key, certificate] = [join(folder, 'ca.key'), join(folder, 'ca.crt')];
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  writeFileSync(key, makeKey());
  openssl('ec', '-in', key, '-conv_form', 'compressed', '-out', key);
  openssl('req', '-x509', '-new', '-key', key, '-subj', '/CN=ACME CA', '-out', certificate);
  const authority = { key: readFileSync(key, 'utf8'), certificate: readFileSync(certificate, 'utf8') };
  const { publicKey } = new X509Certificate(authority.certificate);
  t.is(publicKey.export({ type: 'spki', format: 'der' }).length, 59);
  const uncompressed = createPublicKey({ key: publicKey.export({ format: 'jwk' }), format: 'jwk' });
  const approvers = [{ ...alice, key: readApprovalKey(uncompressed.export({ type: 'spki', format: 'der' })) }];
  const signed = acme.record({ authorities: [authority.certificate], approvers }, authority);
  t.regex(
    refusal(() => readRecord(signed, FEDERATION)),
    /key of its CA/,
  );
});

const departed = (timeMs: number) => ({ timeMs, compromised: false });
const compromised = (timeMs: number) => ({ timeMs, compromised: true });

/** From one state of alice's key to another. */
const steps: readonly (readonly [string, Approver['revocation'], Approver['revocation'], RegExp | undefined])[] = [
  ['departs', undefined, departed(5), undefined],
  ['is compromised', undefined, compromised(5), undefined],
  ['stays departed', departed(5), departed(5), undefined],
  ['departed turns out compromised', departed(5), compromised(5), undefined],
  ['departed turns out compromised earlier', departed(5), compromised(3), undefined],
  ['compromised turns out compromised earlier', compromised(5), compromised(3), undefined],
  ['departed turns out compromised later', departed(5), compromised(6), /softened/],
  ['compromised is moved to later', compromised(5), compromised(6), /softened/],
  ['compromised is softened to departed', compromised(5), departed(5), /softened/],
  ['departed is moved to later', departed(5), departed(6), /softened/],
  ['departed comes back', departed(5), undefined, /taken back/],
  ['compromised comes back', compromised(5), undefined, /taken back/],
];

for (const [what, before, after, pattern] of steps) {
  test(`approvers: a key that ${what} is ${pattern ? 'refused' : 'taken'}`, t => {
    const previous = read({ sequence: 1n, approvers: [{ ...alice, revocation: before }, bob] });
    const next = read({ sequence: 2n, approvers: [{ ...alice, revocation: after }, bob] });
    t.regex(
      refusal(() => checkSuccession(previous, next)),
      pattern ?? /^none$/,
    );
  });
}

test('approvers: keys come, and none leaves or changes', t => {
  const previous = read({ sequence: 1n, approvers: [alice, bob] });
  const after = (approvers: readonly Approver[]): string =>
    refusal(() => checkSuccession(previous, read({ sequence: 2n, approvers })));
  t.is(after([alice, bob]), 'none');
  t.is(after([alice, bob, carol]), 'none');
  t.regex(after([alice]), /is gone/);
  t.regex(after([]), /is gone/);
  t.regex(after([alice, carol]), /is gone/);
  t.regex(after([{ ...alice, name: 'alicia' }, bob]), /was changed/);
  t.regex(after([alice, { ...bob, addMs: 999 }]), /was changed/);
});
