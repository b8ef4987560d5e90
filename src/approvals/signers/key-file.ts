import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { FedgateError } from '../../errors.js';
import { approvalKeyOf } from '../../identity/approval-key.js';
import { readSecret } from '../../identity/files.js';
import type { Signer } from '../types.js';
import { verifiedSigner } from './verified.js';

/**
 * A signer with a private key in a file: PEM, PKCS#8, encrypted or not. `passphrase` is asked only for an encrypted one.
 *
 * Throws FILE_UNUSABLE, KEY_EXPOSED when others than its owner can read it, SIGNER_FAILED for a wrong passphrase, APPROVER_KEY_INVALID for a
 * key of another kind, and what `passphrase` throws.
 */
export async function keyFileSigner(path: string, passphrase: () => Promise<string>): Promise<Signer> {
  const text = await readSecret(path, 'private key');
  const privateKey = isEncrypted(text) ? decrypt(path, text, await passphrase()) : read(path, text);
  const key = approvalKeyOf(privateKey);
  return verifiedSigner(key, path, async message => [
    sign(key.algorithm === 'ed25519' ? null : 'sha256', message, privateKey),
  ]);
}

const isEncrypted = (pem: string): boolean =>
  /^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem);

// What the parser says may quote what it read, so it is not passed on.
function read(path: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw new FedgateError('FILE_UNUSABLE', `${path}: not a private key in PEM form`);
  }
}

function decrypt(path: string, text: string, passphrase: string): KeyObject {
  try {
    return createPrivateKey({ key: text, passphrase });
  } catch {
    throw new FedgateError(
      'SIGNER_FAILED',
      `${path}: the private key cannot be decrypted: wrong passphrase, or damaged`,
    );
  }
}
