import type { Command } from 'commander';
import { commandSigner } from '../approvals/signers/command.js';
import { keyFileSigner } from '../approvals/signers/key-file.js';
import { pkcs11Signer } from '../approvals/signers/pkcs11.js';
import { parsePkcs11Uri } from '../approvals/signers/pkcs11-uri.js';
import { readPublicKeyFile } from '../approvals/signers/public-key-file.js';
import { splitCommand } from '../approvals/signers/split-command.js';
import type { Signer } from '../approvals/types.js';
import { fieldError, quoted } from '../errors.js';
import type { ApprovalKey } from '../identity/approval-key.js';
import { parseDuration } from './duration.js';
import { type CliEnv, write } from './env.js';
import { askSecret, readSecretLine } from './secret.js';

/** Options of every command that signs with an approval key. */
export interface SignerOptions {
  readonly key?: string;
  readonly passphraseFile?: string;
  readonly signerCommand?: string;
  readonly pkcs11?: string;
  readonly pinFile?: string;
  readonly pinEnv?: string;
  readonly publicKey?: string;
  readonly signerTimeout: string;
}

export const withSignerOptions = (command: Command): Command =>
  command
    .option('--key <file>', 'sign with the approval key in this file: PEM (PKCS#8), encrypted or not')
    .option('--passphrase-file <file>', 'the passphrase of an encrypted key file; otherwise it is asked for')
    .option(
      '--signer-command <command>',
      'sign with a program: the bytes come on its standard input, the signature goes to its standard output, as it is or in base64; split at blanks and by quotes, no shell',
    )
    .option('--pkcs11 <uri>', 'sign in a PKCS#11 token: pkcs11:token=LABEL;id=%01?module-path=FILE')
    .option('--pin-file <file>', "the token's PIN; otherwise it is asked for")
    .option('--pin-env <name>', 'the same, from a variable of the environment')
    .option('--public-key <file>', 'the public part of the key, for --signer-command and --pkcs11')
    .option('--signer-timeout <duration>', 'how long a program or token may take to sign', '60s');

/**
 * The signer that the options describe. Throws FIELD_INVALID, FILE_UNUSABLE, KEY_EXPOSED, APPROVER_KEY_INVALID or SIGNER_FAILED; asks for
 * passphrase or PIN on a terminal.
 */
export async function openSigner(env: CliEnv, options: SignerOptions): Promise<Signer> {
  const { key, signerCommand, pkcs11 } = options;
  const given = [key, signerCommand, pkcs11].filter(each => each !== undefined);
  if (given.length !== 1) throw fieldError('--key', 'give one of --key, --signer-command and --pkcs11');
  if (key !== undefined) {
    if (options.publicKey !== undefined) throw fieldError('--public-key', 'a key file needs none');
    return keyFileSigner(key, () => passphraseOf(env, key, options.passphraseFile));
  }
  const common = {
    variables: env.variables,
    timeoutMs: parseDuration(options.signerTimeout, '--signer-timeout'),
    signal: env.signal,
    // A token that waits to be touched says so.
    onStderr: env.terminal ? (chunk: Buffer) => void write(env.stderr, chunk) : undefined,
  };
  if (signerCommand !== undefined) {
    const command = splitCommand(signerCommand, '--signer-command');
    return commandSigner(await publicKeyOf(options), { ...common, command });
  }
  const at = parsePkcs11Uri(pkcs11 ?? '', '--pkcs11');
  const publicKey = await publicKeyOf(options);
  return pkcs11Signer(publicKey, { ...common, at, pin: await pinOf(env, options) });
}

/** The passphrase of a key file, out of another file or asked for. */
export const passphraseOf = (env: CliEnv, key: string, file: string | undefined): Promise<string> =>
  file === undefined ? askSecret(env, `passphrase of ${key}`, '--passphrase-file') : readSecretLine(file, 'passphrase');

async function publicKeyOf({ publicKey }: SignerOptions): Promise<ApprovalKey> {
  if (publicKey === undefined) throw fieldError('--public-key', 'needed, to check what was signed');
  return readPublicKeyFile(publicKey);
}

async function pinOf(env: CliEnv, { pinFile, pinEnv }: SignerOptions): Promise<string> {
  if (pinFile !== undefined && pinEnv !== undefined) throw fieldError('--pin-file', 'give this or --pin-env');
  if (pinFile !== undefined) return readSecretLine(pinFile, 'PIN');
  if (pinEnv === undefined) return askSecret(env, "the token's PIN", '--pin-file or --pin-env');
  const pin = env.variables[pinEnv];
  if (!pin) throw fieldError('--pin-env', `${quoted(pinEnv)} is not set`);
  return pin;
}
