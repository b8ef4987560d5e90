import { type KeyObject, sign, verify } from 'node:crypto';

/**
 * Detached signatures: ECDSA P-256 with SHA-256, DER, over `fedgate/<purpose>/v1` LF and the bytes.
 *
 * The purpose is signed with the bytes, so that a signature made for one thing never counts for another whose bytes happen to be
 * the same.
 */

/** What a signature is for. */
export type SigningPurpose = 'batch' | 'receipt' | 'org-record' | 'snapshot' | 'join' | 'approval-receipt' | 'topic';

/** One buffer per purpose: signing is on the hot path. */
const PREFIXES: { readonly [purpose in SigningPurpose]: Buffer } = {
  batch: Buffer.from('fedgate/batch/v1\n'),
  receipt: Buffer.from('fedgate/receipt/v1\n'),
  'org-record': Buffer.from('fedgate/org-record/v1\n'),
  snapshot: Buffer.from('fedgate/snapshot/v1\n'),
  join: Buffer.from('fedgate/join/v1\n'),
  'approval-receipt': Buffer.from('fedgate/approval-receipt/v1\n'),
  topic: Buffer.from('fedgate/topic/v1\n'),
};

/** Signs `bytes` for one purpose with a P-256 private key. */
export function signDetached(purpose: SigningPurpose, key: KeyObject, bytes: Uint8Array): Buffer {
  return sign('sha256', message(purpose, bytes), key);
}

/** Whether `signature` was made for this purpose over these bytes. False, never an exception, for one that is no signature at all. */
export function verifyDetached(
  purpose: SigningPurpose,
  publicKey: KeyObject,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (!isP256(publicKey)) return false;
  return verify('sha256', message(purpose, bytes), publicKey, signature);
}

/** Whether a key is on the one curve in use. */
export const isP256 = (key: KeyObject): boolean =>
  key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';

const message = (purpose: SigningPurpose, bytes: Uint8Array): Buffer => Buffer.concat([PREFIXES[purpose], bytes]);
