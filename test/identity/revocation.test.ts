import { createPublicKey, X509Certificate } from 'node:crypto';
import test from 'ava';
import type { FedgateError } from '../../src/errors.js';
import { createAuthority, issueLeaf } from '../../src/identity/issue.js';
import type { OrgName } from '../../src/identity/names.js';
import { tlsKeyId } from '../../src/identity/revocation.js';
import { CertificateVerifier, type MemberTrust } from '../../src/identity/verify.js';
import { FEDERATION } from '../support/registry.js';

const ACME = 'ACME' as OrgName;
/** The order of P-256 (FIPS 186-5). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

test('revocation: the key counts, however the signature in the certificate is written', async t => {
  const authority = await createAuthority(FEDERATION, ACME);
  const { certificate } = await issueLeaf(authority, FEDERATION, { org: ACME, role: 'gateway', name: 'gw1' });
  const leaf = new X509Certificate(certificate);
  const other = new X509Certificate(withOtherSignature(leaf.raw));
  t.not(other.fingerprint256, leaf.fingerprint256);
  let revoked = '';
  const trust: MemberTrust = {
    org: ACME,
    active: true,
    authorities: [new X509Certificate(authority.certificate)],
    isRevoked: ({ keyId }) => keyId === revoked,
  };
  const verifier = new CertificateVerifier(FEDERATION, { trust: () => trust, all: () => [trust] });
  const identities = [leaf, other].map(each => verifier.identify(each.fingerprint256, () => each));
  t.deepEqual(
    identities.map(identity => verifier.complaint(identity)),
    [undefined, undefined],
  );
  revoked = tlsKeyId(createPublicKey(leaf.publicKey.export({ type: 'spki', format: 'pem' })));
  for (const each of [leaf, other]) {
    const error = t.throws(() => verifier.identify(each.fingerprint256, () => each)) as FedgateError;
    t.is(error.reason, 'CERTIFICATE_REVOKED');
  }
  for (const identity of identities) t.is(verifier.complaint(identity)?.reason, 'CERTIFICATE_REVOKED');
});

/** The same certificate: (r, n - s) is as good a signature as (r, s). */
function withOtherSignature(der: Buffer): Buffer {
  const [tbs, algorithm, signature] = elements(content(der));
  const [r, s] = elements(content(content(signature as Buffer).subarray(1)));
  const value = BigInt(`0x${content(s as Buffer).toString('hex')}`);
  const digits = (ORDER - value).toString(16).padStart(64, '0');
  const other = element(
    0x02,
    Buffer.from(/^[89a-f]/.test(digits) ? `00${digits}` : digits.replace(/^(00)+(?=[0-7])/, ''), 'hex'),
  );
  const pair = element(0x30, Buffer.concat([r as Buffer, other]));
  const bits = element(0x03, Buffer.concat([Buffer.alloc(1), pair]));
  return element(0x30, Buffer.concat([tbs as Buffer, algorithm as Buffer, bits]));
}

/** DER: where the content of an element begins, and ends. */
function bounds(der: Buffer): [number, number] {
  const first = der.readUInt8(1);
  if (first < 0x80) return [2, 2 + first];
  const bytes = first & 0x7f;
  return [2 + bytes, 2 + bytes + der.readUIntBE(2, bytes)];
}

const content = (der: Buffer): Buffer => der.subarray(...bounds(der));

function elements(der: Buffer): Buffer[] {
  if (der.length === 0) return [];
  const [, end] = bounds(der);
  return [der.subarray(0, end), ...elements(der.subarray(end))];
}

function element(tag: number, body: Buffer): Buffer {
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}
