import type { Command } from 'commander';
import type { SharedFile } from '../../../client/index.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { shareJson, sharesTable } from './text.js';

export function registerList(shares: Command, env: CliEnv): void {
  const command = shares
    .command('list')
    .description('list the shares of this node; with the grant `admin` those of all nodes of the organisation')
    .option('--json', 'list as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate shares list', "fedgate shares list --json | jq -r '.[].id'"))
    .action((options: GatewayOptions & { json?: boolean }) => list(env, options));
}

async function list(env: CliEnv, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const found: SharedFile[] = [];
  await withClient(env, options, async client => {
    for await (const share of client.listShares()) found.push(share);
  });
  if (options.json) return printJson(env, found.map(shareJson));
  if (found.length === 0) return say(env, 'there are no shares; `fedgate share FILE --to ORG` makes one');
  await print(env, sharesTable(found, Date.now()));
}
