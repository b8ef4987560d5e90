import { keyFileSigner as openKeyFile } from '../../approvals/signers/key-file.js';
import type { Signer } from '../../approvals/types.js';
import { FedgateError } from '../../errors.js';

/**
 * A signer with the approval key in a file: PEM, PKCS#8, encrypted or not. A program may also bring a `Signer` of its own, for a key that never
 * leaves another place: `key` and `sign(message)`.
 *
 * Rejects with FILE_UNUSABLE, KEY_EXPOSED when others than its owner can read it, SIGNER_FAILED for a wrong passphrase or none, and
 * APPROVER_KEY_INVALID.
 */
export function keyFileSigner(path: string, passphrase?: string): Promise<Signer> {
  return openKeyFile(path, async () => {
    if (passphrase === undefined)
      throw new FedgateError('SIGNER_FAILED', `${path}: the key is encrypted; give its passphrase`);
    return passphrase;
  });
}

export { readApprovalKey } from '../../identity/approval-key.js';
