import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeStore, storeJson } from './text.js';

export function registerStats(store: Command, env: CliEnv): void {
  const command = store
    .command('stats')
    .description('show the store of a gateway: its state, its size, what the log holds')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate store stats', 'fedgate store stats --json | jq .freeBytes'))
    .action((options: GatewayOptions & { json?: boolean }) => stats(env, options));
}

async function stats(env: CliEnv, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const answer = await withClient(env, options, client => client.durable.getStoreStats());
  await (options.json ? printJson(env, storeJson(answer)) : print(env, describeStore(answer, Date.now())));
}
