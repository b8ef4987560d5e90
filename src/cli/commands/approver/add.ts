import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { readPublicKeyFile } from '../../../approvals/signers/public-key-file.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { parseApproverName } from '../../../identity/names.js';
import { orgFolder } from '../../../identity/org-folder.js';
import { addApprover, checkRoom } from '../../../registry/approver-changes.js';
import { updateApprovers } from '../../../registry/update.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { parseCount } from '../../options.js';
import { type MadeKey, makeKeyPair } from './key-pair.js';
import { type NewKeyOptions, newPassphrase, requirement, withNewKeyOptions } from './options.js';

interface AddOptions extends NewKeyOptions {
  readonly dir: string;
  readonly publicKey?: string;
  readonly required?: string;
  readonly json?: boolean;
}

export function registerAdd(approver: Command, env: CliEnv): void {
  const command = approver
    .command('add')
    .argument('<name>', 'the name of the approver: a-z 0-9 -')
    .description(
      "register a key with which somebody approves code for your organisation; signed by the organisation's CA",
    )
    .option('--dir <folder>', "the organisation's folder, with its CA", '.')
    .option(
      '--public-key <file>',
      'register this key, made by `fedgate approver key` or in a token; otherwise one is made here',
    );
  withNewKeyOptions(command)
    .option('--out <file>', 'where to make the key; otherwise approvers/NAME/approval.key in the folder')
    .option('--required <m>', 'from now on so many different approvers of yours must approve')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      `${examples(
        'fedgate approver add alice --dir acme --public-key alice.pub',
        'fedgate approver add release-bot --dir acme',
        'fedgate approver add bob --dir acme --public-key bob.pub --required 2',
      )}\n\nBetter than making a key here: let the approver make it where it is used, with \`fedgate approver key\`, and hand over the public part.\nA second key of an approver replaces none: revoke the old one with \`fedgate keys revoke\`.`,
    )
    .action((name: string, options: AddOptions) => add(env, name, options));
}

async function add(env: CliEnv, nameText: string, options: AddOptions): Promise<void> {
  const name = parseApproverName(nameText, 'name');
  const required = options.required === undefined ? undefined : parseCount(options.required, '--required', 1);
  const folder = resolve(options.dir);
  const given = await givenKey(options);
  const passphrase = given ? undefined : await newPassphrase(env, options);
  let made: MadeKey | undefined;
  let key = given;
  try {
    const profile = await updateApprovers({
      folder,
      signal: env.signal,
      change: async previous => {
        // Last before it is registered: nothing that can be told sooner leaves a key behind.
        if (!key) {
          checkRoom(previous, { name, required });
          made = await makeKeyPair(resolve(options.out ?? join(orgFolder(folder).approver(name), 'approval.key')), {
            ed25519: options.ed25519 === true,
            passphrase,
          });
          ({ key } = made);
        }
        return addApprover(previous, { name, key, addMs: Date.now(), required });
      },
    });
    const { org, approvalsRequired: requires } = profile;
    const files = made && { key: made.privateFile, publicKey: made.publicFile };
    if (options.json) return printJson(env, { org, approver: name, keyId: key?.id, required: requires, ...files });
    await print(env, `${name} of ${org} approves with the key ${key?.id}`);
    if (made)
      say(
        env,
        `the key is ${made.privateFile}; keep it where only ${name} has it. Its public part: ${made.publicFile}`,
      );
    say(env, `${org} has approved when ${requirement(profile)} have`);
  } catch (error) {
    throw made ? howToGoOn(error, name, options.dir, made) : error;
  }
}

function givenKey({ publicKey, out, ed25519, encrypt, passphraseFile }: AddOptions) {
  if (publicKey === undefined) return undefined;
  if (out !== undefined || ed25519 || encrypt || passphraseFile !== undefined) {
    throw fieldError(
      '--public-key',
      'no key is made then: --out, --ed25519, --encrypt and --passphrase-file do not fit',
    );
  }
  return readPublicKeyFile(publicKey);
}

/** The same error, with what became of the key. */
function howToGoOn(error: unknown, name: string, dir: string, { privateFile, publicFile }: MadeKey): unknown {
  if (!(error instanceof FedgateError)) return error;
  const next = `fedgate approver add ${name} --dir ${dir} --public-key ${publicFile}`;
  return new FedgateError(
    error.reason,
    `${error.message}; the key was made (${privateFile}) and may not be registered yet. To go on: ${next}`,
    { cause: error, metadata: error.metadata, fields: error.fields },
  );
}
