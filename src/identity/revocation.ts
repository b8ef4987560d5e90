import type { KeyObject } from 'node:crypto';
import { approvalKeyId, canonicalSpki } from './approval-key.js';
import { MAX_LEAF_LIFETIME_MS } from './lifetime.js';

/**
 * What takes back a single certificate speaks of its key, not of the certificate's bytes: whoever has the key may write the issuer's ECDSA
 * signature in another way that holds as well, and has a certificate with another fingerprint.
 */

/** SHA-256 of a key's SubjectPublicKeyInfo (DER, points uncompressed), lower-case hexadecimal. */
export const tlsKeyId = (key: KeyObject): string => approvalKeyId(canonicalSpki(key));

/**
 * How long a revocation is needed, milliseconds: every certificate that was there when it was made has ended by then. The day is for clocks
 * that differ.
 */
export const REVOCATION_NEEDED_MS = MAX_LEAF_LIFETIME_MS + 86_400_000;
