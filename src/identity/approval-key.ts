import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { describe, FedgateError } from '../errors.js';

/**
 * Keys with which people approve code: never those of TLS, and never two forms of one.
 *
 * ECDSA on P-256 with SHA-256, or Ed25519 (RFC 8032). The SubjectPublicKeyInfo is compared byte for byte everywhere, so only one encoding of
 * a key is taken: the point of P-256 uncompressed, that of Ed25519 canonical.
 */

/** A public approval key that was checked. */
export interface ApprovalKey {
  /** SHA-256 of `spki`, lower-case hexadecimal: what it is known by. Always computed here, never read. */
  readonly id: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  readonly algorithm: 'ecdsa-p256' | 'ed25519';
  readonly publicKey: KeyObject;
}

const P256_HEADER = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
const P256_BYTES = P256_HEADER.length + 64;
const ED25519_HEADER = Buffer.from('302a300506032b6570032100', 'hex');
const ED25519_BYTES = ED25519_HEADER.length + 32;

/** Reads a SubjectPublicKeyInfo (DER). Throws APPROVER_KEY_INVALID: another algorithm or encoding, no point of the curve, a point of small order. */
export function readApprovalKey(der: Uint8Array): ApprovalKey {
  const spki = Buffer.from(der);
  const algorithm = algorithmOf(spki);
  if (algorithm === 'ed25519') checkEdwardsPoint(spki.subarray(ED25519_HEADER.length));
  let publicKey: KeyObject;
  try {
    // OpenSSL refuses what is no point of P-256 here.
    publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (cause) {
    throw invalid(`it cannot be used: ${describe(cause)}`, cause);
  }
  return { id: approvalKeyId(spki), spki, algorithm, publicKey };
}

/**
 * The approval key that a key of Node's is, or has as its public part. Throws APPROVER_KEY_INVALID for one of another kind. How its point was
 * written, in a file or certificate, does not matter: what counts is the one encoding.
 */
export function approvalKeyOf(key: KeyObject): ApprovalKey {
  return readApprovalKey(canonicalSpki(key));
}

/** SubjectPublicKeyInfo, DER, with the point of an elliptic curve uncompressed. For a private key: of its public part. */
export function canonicalSpki(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  // Through JWK, which has only one form for a point.
  const only = publicKey.asymmetricKeyType === 'ec' ? throughJwk(publicKey) : publicKey;
  return only.export({ type: 'spki', format: 'der' });
}

function throughJwk(key: KeyObject): KeyObject {
  try {
    return createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' });
  } catch {
    // A curve that JWK does not know is none that is taken either.
    return key;
  }
}

/** What a key is known by: SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal. */
export const approvalKeyId = (spki: Uint8Array): string => createHash('sha256').update(spki).digest('hex');

/** Whether a signature is one by this key over these bytes. False, never an exception, for one that is no signature at all. */
export function verifyWithApprovalKey(key: ApprovalKey, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(key.algorithm === 'ed25519' ? null : 'sha256', message, key.publicKey, signature);
  } catch {
    return false;
  }
}

function algorithmOf(spki: Buffer): ApprovalKey['algorithm'] {
  if (spki.length === P256_BYTES && spki.subarray(0, P256_HEADER.length).equals(P256_HEADER)) return 'ecdsa-p256';
  if (spki.length === ED25519_BYTES && spki.subarray(0, ED25519_HEADER.length).equals(ED25519_HEADER)) return 'ed25519';
  throw invalid('it is neither ECDSA on P-256 (uncompressed point) nor Ed25519');
}

/** The field prime of Curve25519, and the constant d of the Edwards form (RFC 8032, section 5.1). */
const P = 2n ** 255n - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/**
 * With a point of small order one signature holds for every message, and OpenSSL takes such a key. It also takes what is no point at all,
 * and then every signature is wrong: better told here than when it is too late. Also refuses a coordinate above p.
 */
function checkEdwardsPoint(encoded: Buffer): void {
  const y = BigInt(`0x${Buffer.from(encoded).reverse().toString('hex')}`) & (2n ** 255n - 1n);
  if (y >= P) throw invalid('its point is not in canonical form');
  // Points of order 1, 2 and 4 have y = ±1 or 0. Those of order 8 double to y = 0, which is the same as y⁴·d + 2·y² − 1 = 0.
  const y2 = (y * y) % P;
  const small = y === 1n || y === P - 1n || y === 0n || (D * y2 * y2 + 2n * y2 - 1n) % P === 0n;
  if (small) throw invalid('its point has a small order: anybody could sign with it');
  // On the curve x² = (y² − 1) / (d·y² + 1). A quotient is a square exactly when the product is.
  if (!isSquare((y2 - 1n) * (D * y2 + 1n))) throw invalid('its point is not on the curve');
}

/** Euler's criterion, for what is not 0 modulo P. */
function isSquare(value: bigint): boolean {
  let result = 1n;
  let power = value % P;
  for (let rest = (P - 1n) / 2n; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * power) % P;
    power = (power * power) % P;
  }
  return result === 1n;
}

const invalid = (why: string, cause?: unknown): FedgateError =>
  new FedgateError('APPROVER_KEY_INVALID', `the approval key is not accepted: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
  });
