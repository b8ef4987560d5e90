import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readApprovalKey } from '../../src/identity/approval-key.js';
import type { Approver } from '../../src/identity/approver.js';

/** An approver and the private key, which nothing of fedgate's ever sees. */
export interface TestApprover extends Approver {
  readonly privateKey: KeyObject;
}

export function makeApprover(
  name: string,
  { ed25519 = false, ...changes }: Partial<Omit<Approver, 'name'>> & { readonly ed25519?: boolean } = {},
): TestApprover {
  const { privateKey, publicKey } = ed25519
    ? generateKeyPairSync('ed25519')
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readApprovalKey(publicKey.export({ type: 'spki', format: 'der' }));
  return { name, key, addMs: 1_000, revocation: undefined, ...changes, privateKey };
}
