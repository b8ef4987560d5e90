import { generateKeyPairSync, randomBytes } from 'node:crypto';
import test from 'ava';
import { OrgRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import { FedgateError } from '../../src/errors.js';
import { createAuthority, issueLeaf } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { signDetached } from '../../src/identity/signing.js';
import { checkSuccession, type RecordContent, readRecord } from '../../src/registry/record.js';
import { FEDERATION } from '../support/registry.js';
import { makeOrg } from '../support/snapshots.js';

const acme = await makeOrg('ACME');
const globex = await makeOrg('GLOBEX');
const newAuthority = await createAuthority(FEDERATION, 'ACME');
const leaf = await issueLeaf(acme.authority, FEDERATION, { org: acme.name, role: 'gateway', name: 'gw1' });

const reasonOf = (step: () => unknown): string => {
  try {
    step();
    return 'none';
  } catch (error) {
    if (error instanceof FedgateError) return error.reason;
    throw error;
  }
};

test('record: what was signed is read', t => {
  const gateways = [{ name: 'gw1', addresses: ['gw.acme.example:7411', '[::1]:7411'] }];
  const profile = readRecord(acme.record({ gateways, sequence: 7n }), FEDERATION);
  t.like(profile, { org: 'ACME', sequence: 7n, timeMs: 1 });
  t.deepEqual(profile.gateways, gateways);
  t.is(profile.authorities[0]?.toString(), acme.authority.certificate);
});

const gateway = (name: string, addresses = ['a.example:1']) => ({ name, addresses });
const bad: readonly (readonly [string, Partial<RecordContent>])[] = [
  ['another federation', { federation: 'other.example' }],
  ['a bad name', { org: 'acme' as OrgName }],
  ['a reserved name', { org: 'REGISTRY' as OrgName }],
  ['sequence 0', { sequence: 0n }],
  ['no CA', { authorities: [] }],
  ['three CAs', { authorities: [acme, acme, acme].map(({ authority }) => authority.certificate) }],
  ['a leaf as CA', { authorities: [leaf.certificate] }],
  ["only another's CA", { authorities: [globex.authority.certificate] }],
  ['17 gateways', { gateways: Array.from({ length: 17 }, (_, i) => gateway(`gw${i}`)) }],
  ['two gateways of one name', { gateways: [gateway('gw1'), gateway('gw1')] }],
  ['a bad gateway name', { gateways: [gateway('GW/1')] }],
  ['a gateway without addresses', { gateways: [gateway('gw1', [])] }],
  [
    'nine addresses',
    {
      gateways: [
        gateway(
          'gw1',
          Array.from({ length: 9 }, (_, i) => `a${i}.example:1`),
        ),
      ],
    },
  ],
  ['an address without port', { gateways: [gateway('gw1', ['a.example'])] }],
  ['port 0', { gateways: [gateway('gw1', ['a.example:0'])] }],
];

for (const [what, changes] of bad) {
  test(`record: refused with ${what}`, t => {
    t.is(
      reasonOf(() => readRecord(acme.record(changes), FEDERATION)),
      'RECORD_INVALID',
    );
  });
}

test('record: refused when bytes or signature are not what was signed', t => {
  const { record, signature } = acme.record();
  const changed = Buffer.from(record);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const table = [
    { record: changed, signature },
    { record, signature: new Uint8Array() },
    { record, signature: randomBytes(70) },
    { record, signature: signDetached('org-record', privateKey, record) },
    { record: record.subarray(0, -3), signature },
    { record: randomBytes(100), signature },
    { record: new Uint8Array(), signature },
    { record: new Uint8Array(70_000), signature },
  ];
  for (const signed of table)
    t.is(
      reasonOf(() => readRecord(signed, FEDERATION)),
      'RECORD_INVALID',
    );
});

test('record: a signature for another purpose does not count', async t => {
  const { createPrivateKey } = await import('node:crypto');
  const { record } = acme.record();
  const signature = signDetached('snapshot', createPrivateKey(acme.authority.key), record);
  t.is(
    reasonOf(() => readRecord({ record, signature }, FEDERATION)),
    'RECORD_INVALID',
  );
});

test('record: a CA of another curve or with bytes after it is refused', async t => {
  const { createPrivateKey, X509Certificate } = await import('node:crypto');
  const raw = new X509Certificate(acme.authority.certificate).raw;
  const content = {
    federation: FEDERATION,
    org: 'ACME',
    sequence: 1n,
    gateways: [],
    timeMs: 1n,
    approvers: [],
    approvalsRequired: 0,
  };
  for (const der of [Buffer.concat([raw, Buffer.from('more')]), randomBytes(300), Buffer.alloc(0)]) {
    const record = OrgRecord.encode({
      ...content,
      groups: [],
      consents: [],
      revokedKeys: [],
      caCertificates: [der],
    }).finish();
    const signature = signDetached('org-record', createPrivateKey(acme.authority.key), record);
    t.is(
      reasonOf(() => readRecord({ record, signature }, FEDERATION)),
      'RECORD_INVALID',
    );
  }
});

test('succession: needs a higher sequence and a CA of the record before', t => {
  const read = (changes: Partial<RecordContent>, signer = acme.authority) =>
    readRecord(acme.record(changes, signer), FEDERATION);
  const authorities = [acme.authority.certificate, newAuthority.certificate];
  const first = read({ sequence: 5n });
  const both = read({ sequence: 6n, authorities });
  const second = read({ sequence: 7n, authorities: [newAuthority.certificate] }, newAuthority);
  t.notThrows(() => checkSuccession(first, both));
  t.notThrows(() => checkSuccession(both, second));
  t.is(
    reasonOf(() => checkSuccession(first, second)),
    'RECORD_INVALID',
  );
  t.is(
    reasonOf(() => checkSuccession(both, first)),
    'RECORD_STALE',
  );
  t.is(
    reasonOf(() => checkSuccession(first, read({ sequence: 5n, timeMs: 2 }))),
    'RECORD_STALE',
  );
  t.is(
    reasonOf(() => checkSuccession(first, readRecord(globex.record({ sequence: 9n }), FEDERATION))),
    'RECORD_INVALID',
  );
});
