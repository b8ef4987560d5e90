import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeShare, shareJson } from './text.js';

export function registerShow(shares: Command, env: CliEnv): void {
  const command = shares
    .command('show')
    .argument('<share>', 'the id of a share, of any organisation')
    .description('show what a share is; that does not count as a download')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate shares show share://GLOBEX/8d0c6a54d2f145cd9b3f8a0f0f4b9a11'))
    .action((id: string, options: GatewayOptions & { json?: boolean }) => show(env, id, options));
}

async function show(env: CliEnv, id: string, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const share = await withClient(env, options, client => client.getShare(id));
  if (options.json) return printJson(env, shareJson(share));
  await print(env, describeShare(share, Date.now()));
}
