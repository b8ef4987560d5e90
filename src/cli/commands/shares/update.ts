import type { Command } from 'commander';
import { fieldError } from '../../../errors.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { parseTerms, type TermsOptions, withTermsOptions } from '../share/terms.js';
import { describeShare, shareJson } from './text.js';

interface UpdateOptions extends GatewayOptions, TermsOptions {
  readonly nobody?: boolean;
  readonly json?: boolean;
}

export function registerUpdate(shares: Command, env: CliEnv): void {
  const command = shares
    .command('update')
    .argument('<share>', 'the id of a share of this node')
    .description('change who may fetch a share, how long and how often; what is not named stays');
  withTermsOptions(command)
    .option('--nobody', 'nobody but its owner may fetch it')
    .option('--json', 'show the share as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate shares update share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 --to GLOBEX,INITECH',
        'fedgate shares update share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11 --expires 24h --max-downloads 0',
      )}\n\n--to replaces all who might before. --expires 0s and --max-downloads 0: for ever, and any number.`,
    )
    .action((id: string, options: UpdateOptions) => update(env, id, options));
}

async function update(env: CliEnv, id: string, options: UpdateOptions): Promise<void> {
  const { audience, expiresMs, maxDownloads } = parseTerms(options);
  if (options.nobody && audience) throw fieldError('--nobody', 'not with --to or --anyone');
  const changes = {
    audience: options.nobody ? {} : audience,
    expireTimeMs: expiresMs === undefined ? undefined : expiresMs === 0 ? 0 : Date.now() + expiresMs,
    maxDownloads,
  };
  if (Object.values(changes).every(change => change === undefined))
    throw fieldError('--to', 'nothing to change: give one of --to, --anyone, --nobody, --expires, --max-downloads');
  const share = await withClient(env, options, client => client.updateShare(id, changes));
  if (options.json) return printJson(env, shareJson(share));
  await print(env, describeShare(share, Date.now()));
}
