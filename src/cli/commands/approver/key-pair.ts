import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, FedgateError } from '../../../errors.js';
import { type ApprovalKey, approvalKeyOf } from '../../../identity/approval-key.js';
import { writeFileAtomically } from '../../../identity/files.js';

/** An approval key that was made here. */
export interface MadeKey {
  readonly key: ApprovalKey;
  /** Of mode 0600. */
  readonly privateFile: string;
  readonly publicFile: string;
}

/** `approval.key` has its public part in `approval.pub`. */
export const publicFileOf = (privateFile: string): string => `${privateFile.replace(/\.(key|pem)$/, '')}.pub`;

/** Makes a key pair and writes both parts. Throws FILE_UNUSABLE when either file is there already: a key is never overwritten. */
export async function makeKeyPair(
  privateFile: string,
  { ed25519, passphrase }: { readonly ed25519: boolean; readonly passphrase: string | undefined },
): Promise<MadeKey> {
  const { privateKey, publicKey } = ed25519
    ? generateKeyPairSync('ed25519')
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicFile = publicFileOf(privateFile);
  for (const path of [privateFile, publicFile]) if (existsSync(path)) throw isThere(path);
  await mkdir(dirname(privateFile), { recursive: true, mode: 0o700 });
  await writeNew(privateFile, privatePem(privateKey, passphrase), 0o600);
  await writeNew(publicFile, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  return { key: approvalKeyOf(publicKey), privateFile, publicFile };
}

const privatePem = (key: KeyObject, passphrase: string | undefined): string | Buffer =>
  passphrase === undefined
    ? key.export({ type: 'pkcs8', format: 'pem' })
    : key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase });

/** Whole or not at all, and never over another: a link is only made where nothing is. */
async function writeNew(path: string, content: string | Buffer, mode: number): Promise<void> {
  const whole = `${path}.new`;
  try {
    await writeFileAtomically(whole, content, mode);
    await link(whole, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw isThere(path);
    throw new FedgateError('FILE_UNUSABLE', `${path}: cannot be written: ${describe(cause)}`, { cause });
  } finally {
    await rm(whole, { force: true });
  }
}

const isThere = (path: string): FedgateError =>
  new FedgateError('FILE_UNUSABLE', `${path} is there already, and is not overwritten; --out makes the key elsewhere`);
