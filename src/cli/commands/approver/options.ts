import type { Command } from 'commander';
import { fieldError } from '../../../errors.js';
import type { OrgProfile } from '../../../registry/record.js';
import type { CliEnv } from '../../env.js';
import { askSecret, readSecretLine } from '../../secret.js';

/** Options of commands that make a key. */
export interface NewKeyOptions {
  readonly ed25519?: boolean;
  readonly encrypt?: boolean;
  readonly passphraseFile?: string;
  readonly out?: string;
}

export const withNewKeyOptions = (command: Command): Command =>
  command
    .option('--ed25519', 'make an Ed25519 key; otherwise ECDSA on P-256')
    .option('--encrypt', 'encrypt the key file with a passphrase, which is asked for')
    .option('--passphrase-file <file>', 'the passphrase to encrypt it with, instead of being asked');

/** The passphrase for a new key; undefined when it is not to be encrypted. Throws FIELD_INVALID, FILE_UNUSABLE, KEY_EXPOSED or CANCELLED. */
export async function newPassphrase(
  env: CliEnv,
  { encrypt, passphraseFile }: NewKeyOptions,
): Promise<string | undefined> {
  if (passphraseFile !== undefined) return readSecretLine(passphraseFile, 'passphrase');
  if (!encrypt) return undefined;
  const passphrase = await askSecret(env, 'passphrase for the new key', '--passphrase-file');
  if (passphrase === '') throw fieldError('--encrypt', 'the passphrase is empty');
  if ((await askSecret(env, 'the same again', '--passphrase-file')) !== passphrase) {
    throw fieldError('--encrypt', 'the two passphrases differ');
  }
  return passphrase;
}

/** `2 of its 3 approvers`, for people. */
export function requirement({
  approvers,
  approvalsRequired,
}: Pick<OrgProfile, 'approvers' | 'approvalsRequired'>): string {
  const names = new Set(approvers.filter(({ revocation }) => !revocation).map(({ name }) => name));
  return `${approvalsRequired} of ${names.size === 1 ? '1 approver' : `${names.size} approvers`}`;
}
