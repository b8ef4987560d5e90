import { resolve } from 'node:path';
import type { Command } from 'commander';
import { parseApproverName } from '../../../identity/names.js';
import { type CliEnv, printJson, say, write } from '../../env.js';
import { examples } from '../../help.js';
import { makeKeyPair } from './key-pair.js';
import { type NewKeyOptions, newPassphrase, withNewKeyOptions } from './options.js';

interface KeyOptions extends NewKeyOptions {
  readonly json?: boolean;
}

export function registerKey(approver: Command, env: CliEnv): void {
  const command = approver
    .command('key')
    .argument('<name>', 'your name as an approver: a-z 0-9 -')
    .description(
      "make an approval key on the approver's own machine and print its public part, for `fedgate approver add`",
    )
    .option('--out <file>', 'where to make the key; otherwise NAME.key here, and its public part NAME.pub');
  withNewKeyOptions(command)
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples('fedgate approver key alice --encrypt', 'fedgate approver key alice --ed25519 --out ~/.fedgate/approval.key')}\n\nNothing is sent anywhere. Whoever runs your organisation registers what is printed.`,
    )
    .action((name: string, options: KeyOptions) => makeKey(env, name, options));
}

async function makeKey(env: CliEnv, nameText: string, options: KeyOptions): Promise<void> {
  const name = parseApproverName(nameText, 'name');
  const passphrase = await newPassphrase(env, options);
  const file = resolve(options.out ?? `${name}.key`);
  const made = await makeKeyPair(file, { ed25519: options.ed25519 === true, passphrase });
  const pem = made.key.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const { key, privateFile, publicFile } = made;
  if (options.json) {
    return printJson(env, { approver: name, keyId: key.id, key: privateFile, publicKey: publicFile, pem });
  }
  await write(env.stdout, pem);
  say(env, `the key ${key.id} is in ${privateFile}; keep it to yourself. Hand over ${publicFile}, then:`);
  say(env, `fedgate approver add ${name} --dir FOLDER --public-key ${name}.pub`);
}
