import { createHash } from 'node:crypto';
import type { SignedRecord } from '../../gen/ts/fedgate/registry/v1/record.js';

/** What whoever joins signs with its CA key: the registry's challenge, the invitation, and the record it wants to enter. */
export const joinProofBytes = (challenge: Uint8Array, secret: Uint8Array, { record }: SignedRecord): Buffer =>
  Buffer.concat([challenge, sha256(secret), sha256(record)]);

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
