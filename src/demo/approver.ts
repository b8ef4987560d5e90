import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { keyFileSigner } from '../approvals/signers/key-file.js';
import type { Signer } from '../client/index.js';
import { writeFileAtomically } from '../identity/files.js';
import { addApprover } from '../registry/approver-changes.js';
import { updateApprovers } from '../registry/update.js';

/** Somebody who approves code for an organisation of the demo. */
export interface DemoApprover {
  readonly keyFile: string;
  readonly signer: Signer;
}

/** Makes a key on the spot, and registers its public part in the record of the organisation whose folder this is. */
export async function makeApprover(folder: string, name: string): Promise<DemoApprover> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyFile = join(folder, 'approvers', name, 'approval.key');
  await writeFileAtomically(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  const signer = await keyFileSigner(keyFile, () => Promise.reject(new Error('it is not encrypted')));
  const terms = { name, key: signer.key, addMs: Date.now(), required: undefined };
  await updateApprovers({ folder, change: previous => addApprover(previous, terms) });
  return { keyFile, signer };
}
