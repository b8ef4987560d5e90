import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { parsePolicy, readPolicy } from '../../../src/approvals/verify/policy.js';
import { FedgateError } from '../../../src/errors.js';
import { policyText, testKey } from '../../support/approvals.js';
import { temporaryFolder } from '../../support/registry.js';

const acme = testKey('ACME');
const globex = testKey('GLOBEX', 'ed25519');
const said = (text: string): string => {
  try {
    parsePolicy(text, 'policy.yaml');
    return 'accepted';
  } catch (error) {
    return error instanceof FedgateError ? `${error.reason}: ${error.message}` : `threw ${String(error)}`;
  }
};

test('policy: everything that it can say', t => {
  const pem = acme.key.publicKey
    .export({ format: 'pem', type: 'spki' })
    .toString()
    .trimEnd()
    .replaceAll('\n', '\n          ');
  const text = `
policy: releases
version: 3
created: 2026-01-01
expires: 2027-01-01T12:30:00Z
federation: fed.example
threshold: 2
orgs:
  - org: ACME
    required: 1
    keys:
      - name: alice
        key: |
          ${pem}
        revoked: { reason: departed, at: 2026-03-01T00:00:00.000Z }
  - org: GLOBEX
    keys:
      - key: ${globex.key.spki.toString('base64')}
require: [ACME]
projects: [ACME/scanner, GLOBEX/tool.x]
minSequence: { ACME/scanner: 5 }
maxAge: 90d
expired: accept
`;
  const policy = parsePolicy(text, 'policy.yaml');
  t.like(policy, {
    name: 'releases',
    version: 3,
    createdMs: Date.UTC(2026, 0, 1),
    expiresMs: Date.UTC(2027, 0, 1, 12, 30),
    federation: 'fed.example',
    threshold: 2,
    require: ['ACME'],
    projects: ['ACME/scanner', 'GLOBEX/tool.x'],
    minSequence: { 'ACME/scanner': 5 },
    maxAgeMs: 90 * 86_400_000,
    acceptExpired: true,
  } as object);
  t.deepEqual(
    policy.orgs.map(({ org, required, keys }) => [
      org,
      required,
      keys.map(({ name, key, revoked }) => [name, key.id, revoked]),
    ]) as unknown,
    [
      ['ACME', 1, [['alice', acme.key.id, { compromised: false, atMs: Date.UTC(2026, 2, 1) }]]],
      ['GLOBEX', 1, [[undefined, globex.key.id, undefined]]],
    ],
  );
  t.is(parsePolicy(`# a comment\n${text}`, 'x').fingerprint, policy.fingerprint);
  t.not(parsePolicy(text.replace('threshold: 2', 'threshold: 1'), 'x').fingerprint, policy.fingerprint);
});

test('attack 24: a policy that is missing, unreadable or empty is none, and nothing is verified without one', async t => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'empty'), '');
  await writeFile(join(folder, 'blank'), '\n  \n');
  await writeFile(join(folder, 'comment'), '# nothing\n');
  await writeFile(join(folder, 'bytes'), Buffer.from([0, 1, 2, 0xff]));
  await mkdir(join(folder, 'folder'));
  for (const name of ['missing', 'empty', 'blank', 'comment', 'bytes', 'folder']) {
    const error = await t.throwsAsync(readPolicy(join(folder, name)), { instanceOf: FedgateError }, name);
    t.is(error?.reason, 'POLICY_INVALID', name);
  }
});

test('attack 9: a policy with a threshold that is none is refused', t => {
  const keys = [acme, globex];
  t.is(said(policyText(keys, 'threshold: 2')), 'accepted');
  for (const threshold of [
    '0',
    '-1',
    '3',
    '1.5',
    '"2"',
    'true',
    'null',
    '',
    '[2]',
    '1e400',
    '.nan',
    '9007199254740993',
  ]) {
    t.regex(
      said(policyText(keys, `threshold: ${threshold}`)),
      /^POLICY_INVALID: policy.yaml:3:\d+ threshold: /,
      threshold,
    );
  }
  t.regex(said(policyText(keys, '')), /threshold: expected number/);
  t.regex(said('policy: a\nversion: 1\nthreshold: 1\norgs: []\n'), /^POLICY_INVALID: policy.yaml:4:7 orgs: /);
  for (const name of ['acme', 'ΑCME', 'AСME', 'ACME ', 'REGISTRY']) {
    t.regex(
      said(policyText(keys).replace('org: ACME', `org: "${name}"`)),
      /^POLICY_INVALID: policy.yaml:5:\d+ orgs\[0\].org: /,
      name,
    );
  }
});

test('attack 2: a policy with one key under two organisations, or twice, is refused', t => {
  const stolen = { ...globex, key: acme.key };
  t.regex(said(policyText([acme, stolen])), /orgs\[1\].keys\[0\].key: the same key is there for ACME already/);
  t.regex(said(policyText([acme, acme, globex])), /orgs\[0\].keys\[1\].key: the same key is there for ACME already/);
  const twice = policyText([acme, globex]).replace('org: GLOBEX', 'org: ACME');
  t.regex(said(twice), /orgs\[1\].org: ACME is there twice/);
});

test('attack 3: a policy with a weak key, one of another kind, or a private one is refused', t => {
  const of = (key: string) => said(policyText([acme]).replace(acme.key.spki.toString('base64'), key));
  const ed25519 = (point: string) => Buffer.from(`302a300506032b6570032100${point}`, 'hex').toString('base64');
  t.regex(of(ed25519(`01${'00'.repeat(31)}`)), /keys\[0\].key: .*small order/);
  t.regex(of(ed25519('ff'.repeat(32))), /keys\[0\].key: .*canonical/);
  t.regex(of('AAAA'), /keys\[0\].key: /);
  t.regex(of('not base64!'), /keys\[0\].key: expected a public key/);
  t.regex(of('-----BEGIN PRIVATE KEY-----'), /keys\[0\].key: that is a private key/);
});

test('policy: every other problem is told with its place', t => {
  const keys = [acme, globex];
  const cases: readonly [string, RegExp][] = [
    ['threshold: 1\nversion: 0', /version: /],
    ['threshold: 1\nversion: "1"', /version: /],
    ['threshold: 1\nexpires: tomorrow', /expires: expected a time/],
    ['threshold: 1\nexpires: 2026-02-30', /expires: expected a time/],
    ['threshold: 1\nexpires: 2026-02-01T12:00:00+01:00', /expires: expected a time/],
    ['threshold: 1\nmaxAge: 90', /maxAge: /],
    ['threshold: 1\nmaxAge: 90 days', /maxAge: expected a duration/],
    ['threshold: 1\nexpired: maybe', /expired: /],
    ['threshold: 1\nrequire: [INITECH]', /require\[0\]: INITECH is not among the orgs/],
    ['threshold: 1\nprojects: []', /projects: /],
    ['threshold: 1\nprojects: [scanner]', /projects\[0\]: expected ORG\/project/],
    ['threshold: 1\nminSequence: { scanner: 1 }', /minSequence/],
    ['threshold: 1\nminSequence: { ACME/scanner: 0 }', /minSequence/],
    ['threshold: 1\nthresholds: 1', /thresholds: unknown key/],
    ['threshold: 1\nthreshold: 2', /not YAML: .*unique/],
    ['threshold: 1\n  a: [', /not YAML/],
  ];
  for (const [more, what] of cases) {
    const text = said(policyText(keys, more));
    t.regex(text, /^POLICY_INVALID: policy.yaml:\d+:\d+ /, more);
    t.regex(text, what, more);
  }
  t.regex(
    said(policyText(keys).replace('    keys:', '    required: 2\n    keys:')),
    /orgs\[0\].required: expected at most 1/,
  );
});
