import { createHash } from 'node:crypto';

/** The hash before the first entry. */
export const CHAIN_START: Buffer = Buffer.alloc(32);

const PREFIX = Buffer.from('fedgate/approval-log/v1\n');

/** The hash of an entry of a log of approvals, which also stands for all entries before it. */
export const chainHash = (before: Uint8Array, entry: Uint8Array): Buffer =>
  createHash('sha256').update(PREFIX).update(before).update(entry).digest();
