import { FedgateError } from '../../errors.js';
import { type ApprovalKey, verifyWithApprovalKey } from '../../identity/approval-key.js';
import type { Signer } from '../types.js';

/**
 * A signer that believes nobody: of the signatures that a key file, token or command may have meant, it returns the one that holds. So a wrong
 * key, or a token that signs something else, is told here, and not by those who get the vote.
 *
 * `sign` gives the ways in which its answer may be read, and may reject with anything. `what` names it in messages.
 */
export function verifiedSigner(
  key: ApprovalKey,
  what: string,
  sign: (message: Buffer) => Promise<readonly Buffer[]>,
): Signer {
  return {
    key,
    async sign(message) {
      for (const signature of await sign(message)) if (verifyWithApprovalKey(key, message, signature)) return signature;
      throw new FedgateError(
        'SIGNER_FAILED',
        `${what}: what it gave is no signature by the key ${key.id} over what was to be signed; is it another key?`,
        { metadata: { keyId: key.id } },
      );
    },
  };
}
