import type { SignedRecord } from '../../gen/ts/fedgate/registry/v1/record.js';
import { sha256 } from '../sha256.js';

/** What whoever joins signs with its CA key: the registry's challenge, the invitation, and the record it wants to enter. */
export const joinProofBytes = (challenge: Uint8Array, secret: Uint8Array, { record }: SignedRecord): Buffer =>
  Buffer.concat([challenge, sha256(secret), sha256(record)]);
