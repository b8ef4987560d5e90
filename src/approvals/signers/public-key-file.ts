import { createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, FedgateError } from '../../errors.js';
import { type ApprovalKey, approvalKeyOf, readApprovalKey } from '../../identity/approval-key.js';

/** More than any public key that is taken. */
const MAX_BYTES = 16 * 1024;

const PEM = /^\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*$/;

/** Reads a public key as SubjectPublicKeyInfo, PEM or DER. Throws FILE_UNUSABLE or APPROVER_KEY_INVALID. */
export async function readPublicKeyFile(path: string): Promise<ApprovalKey> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FedgateError('FILE_UNUSABLE', `${path}: public key not readable: ${describe(cause)}`, { cause });
  });
  if (bytes.length > MAX_BYTES) throw unusable(path);
  const text = bytes.toString('latin1');
  if (text.includes('PRIVATE KEY-----')) {
    throw new FedgateError('FILE_UNUSABLE', `${path}: this is a private key; the public one is needed`);
  }
  if (!text.includes('-----BEGIN')) return readApprovalKey(bytes);
  // Only this one block: not a certificate, which would do for Node too.
  if (!PEM.test(text)) throw unusable(path);
  try {
    return approvalKeyOf(createPublicKey(text));
  } catch (cause) {
    if (cause instanceof FedgateError) throw cause;
    throw unusable(path, cause);
  }
}

const unusable = (path: string, cause?: unknown): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${path}: not a public key (PEM with BEGIN PUBLIC KEY, or DER)`, { cause });
