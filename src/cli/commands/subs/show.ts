import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeSubscription, subscriptionJson } from './text.js';

export function registerShow(subs: Command, env: CliEnv): void {
  const command = subs
    .command('show')
    .argument('<name>', 'one that `fedgate subs list` shows')
    .description('show one durable subscription')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples('fedgate subs show billing', 'fedgate subs show billing --json | jq .backlogRecords'),
    )
    .action((name: string, options: GatewayOptions & { json?: boolean }) => show(env, name, options));
}

async function show(env: CliEnv, name: string, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const subscription = await withClient(env, options, client => client.durable.getSubscription(name));
  if (options.json) return printJson(env, subscriptionJson(subscription));
  await print(env, describeSubscription(subscription, Date.now()));
}
