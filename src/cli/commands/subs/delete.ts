import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';

export function registerDelete(subs: Command, env: CliEnv): void {
  const command = subs
    .command('delete')
    .argument('<name>', 'one that `fedgate subs list` shows')
    .description('delete a durable subscription with its position; the gateway no longer keeps records for it')
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate subs delete billing'))
    .action((name: string, options: GatewayOptions & { json?: boolean }) => remove(env, name, options));
}

async function remove(env: CliEnv, name: string, options: GatewayOptions & { json?: boolean }): Promise<void> {
  await withClient(env, options, client => client.durable.deleteSubscription(name));
  if (options.json) return printJson(env, { deleted: name });
  await print(env, `${name} is deleted; its consumers' streams are ended`);
}
