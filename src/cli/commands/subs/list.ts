import type { Command } from 'commander';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { subscriptionJson, subscriptionsTable } from './text.js';

export function registerList(subs: Command, env: CliEnv): void {
  const command = subs
    .command('list')
    .description('list the durable subscriptions that you may see, with what waits for each')
    .option('--json', 'list as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples('fedgate subs list', "fedgate subs list --json | jq '.[] | select(.backlogRecords > 1000) | .name'"),
    )
    .action((options: GatewayOptions & { json?: boolean }) => list(env, options));
}

async function list(env: CliEnv, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const subscriptions = await withClient(env, options, client => client.durable.listSubscriptions());
  if (options.json) return printJson(env, subscriptions.map(subscriptionJson));
  if (subscriptions.length === 0)
    return say(env, 'there are no durable subscriptions; `fedgate sub PATTERN --durable NAME` makes one');
  await print(env, subscriptionsTable(subscriptions));
}
