import test from 'ava';
import { bundleFiles, makeBundles } from '../../src/approvals/bundle.js';
import { parseEnvelope } from '../../src/approvals/statement/envelope.js';
import { pae } from '../../src/approvals/statement/pae.js';
import { verifyWithApprovalKey } from '../../src/identity/approval-key.js';
import { counted, proposalOf, testKey } from '../support/approvals.js';

const keys = [testKey('INITECH'), testKey('GLOBEX', 'ed25519'), testKey('ACME'), testKey('GLOBEX')];
const proposal = proposalOf(keys, { threshold: 3 });

test('bundle: three forms hold the same signatures, sorted by organisation, none twice', t => {
  const approval = counted(proposal, keys);
  const [first] = approval.signatures;
  if (!first) return t.fail();
  const bundles = makeBundles({ ...approval, signatures: [...approval.signatures, first] });

  const envelope = parseEnvelope(bundles.dsse);
  const orgOf = (id: string) => keys.find(({ key }) => key.id === id)?.org;
  t.deepEqual(envelope.signatures.map(({ keyId }) => orgOf(keyId)) as string[], [
    'ACME',
    'GLOBEX',
    'GLOBEX',
    'INITECH',
  ]);
  t.deepEqual(envelope.payload, approval.statement);
  const message = pae(envelope.payloadType, envelope.payload);
  for (const { keyId, signature } of envelope.signatures) {
    const found = keys.find(({ key }) => key.id === keyId);
    t.true(found && verifyWithApprovalKey(found.key, message, signature));
  }

  const lines = bundles.jsonl
    .trimEnd()
    .split('\n')
    .map(line => parseEnvelope(line));
  t.deepEqual(
    lines.flatMap(({ signatures }) => signatures),
    [...envelope.signatures],
  );
  t.true(lines.every(({ payload, signatures }) => payload.equals(approval.statement) && signatures.length === 1));

  for (const [i, { keyId, bundle }] of bundles.sigstore.entries()) {
    const read = JSON.parse(bundle);
    t.is(read.mediaType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
    t.deepEqual(read.verificationMaterial, { publicKey: { hint: keyId } });
    const inside = parseEnvelope(JSON.stringify(read.dsseEnvelope));
    // cosign would look at no signature with a key id that is not of its own making.
    const named = inside.signatures.map(each => ({ ...each, keyId }));
    t.true(inside.signatures.every(each => each.keyId === ''));
    t.deepEqual({ ...inside, signatures: named }, lines[i]);
  }
});

test('bundle: files are called after the artifact, and after the key where an organisation signs with several', t => {
  const bundles = makeBundles(counted(proposal, keys));
  const [first = '', second = ''] = keys
    .filter(({ org }) => (org as string) === 'GLOBEX')
    .map(({ key }) => key.id.slice(0, 8))
    .sort();
  t.deepEqual(
    bundleFiles(bundles).map(({ name }) => name),
    [
      'scanner.tar.approvals.dsse.json',
      'scanner.tar.ACME.sigstore.json',
      `scanner.tar.GLOBEX.${first}.sigstore.json`,
      `scanner.tar.GLOBEX.${second}.sigstore.json`,
      'scanner.tar.INITECH.sigstore.json',
      'scanner.tar.approvals.intoto.jsonl',
    ],
  );
  const long = bundleFiles({ ...bundles, artifactName: '木'.repeat(85) });
  t.true(long.every(({ name }) => Buffer.byteLength(name) <= 255 && name.startsWith('木'.repeat(63))));
});
