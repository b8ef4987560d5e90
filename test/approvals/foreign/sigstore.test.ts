import { bundleFromJSON } from '@sigstore/bundle';
import { toSignedEntity, Verifier } from '@sigstore/verify';
import test from 'ava';
import { makeBundles } from '../../../src/approvals/bundle.js';
import { encodeStatement } from '../../../src/approvals/statement/statement.js';
import { counted, proposalOf, type TestKey, testKey } from '../../support/approvals.js';

const keys = [testKey('ACME'), testKey('GLOBEX', 'ed25519'), testKey('INITECH')];
const proposal = proposalOf(keys, { threshold: 2, note: 'for everybody – «all»' });
const bundles = makeBundles(counted(proposal, keys)).sigstore.map(({ bundle }) => JSON.parse(bundle));

/** As sigstore-js verifies with a key and no log. Throws when it does not hold. */
function verifyWithSigstore(bundle: unknown, { key }: TestKey): void {
  const verifier = new Verifier(
    {
      certificateAuthorities: [],
      timestampAuthorities: [],
      tlogs: [],
      ctlogs: [],
      publicKey: hint => {
        if (hint !== key.id) throw new Error(`not the key ${hint}`);
        return { publicKey: key.publicKey, validFor: () => true };
      },
    },
    { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 },
  );
  verifier.verify(toSignedEntity(bundleFromJSON(bundle)));
}

test('sigstore-js: accepts the bundle of each organisation', t => {
  for (const [i, key] of keys.entries()) t.notThrows(() => verifyWithSigstore(bundles[i], key));
});

test('sigstore-js: refuses a bundle that was tampered with, and one by another key', t => {
  const payload = encodeStatement({ kind: 'approval', proposal: { ...proposal, threshold: 1 } }).toString('base64');
  for (const [i, key] of keys.entries()) {
    const { dsseEnvelope, ...rest } = bundles[i];
    const [{ sig }] = dsseEnvelope.signatures;
    const flipped = Buffer.from(sig, 'base64');
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    const lies: readonly object[] = [
      { ...dsseEnvelope, payload },
      { ...dsseEnvelope, payloadType: 'application/json' },
      { ...dsseEnvelope, signatures: [{ sig: flipped.toString('base64') }] },
      { ...dsseEnvelope, signatures: bundles[(i + 1) % 3].dsseEnvelope.signatures },
    ];
    for (const lie of lies) t.throws(() => verifyWithSigstore({ ...rest, dsseEnvelope: lie }, key));
    t.throws(() => verifyWithSigstore(bundles[i], keys[(i + 1) % 3] ?? key));
  }
});
