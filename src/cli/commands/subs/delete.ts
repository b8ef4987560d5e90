import type { Command } from 'commander';
import { confirm, YES_OPTION } from '../../confirm.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { backlog } from './text.js';

interface DeleteOptions extends GatewayOptions {
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerDelete(subs: Command, env: CliEnv): void {
  const command = subs
    .command('delete')
    .argument('<name>', 'one that `fedgate subs list` shows')
    .description('delete a durable subscription with its position; the gateway no longer keeps records for it')
    .option(...YES_OPTION)
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate subs delete billing', 'fedgate subs delete billing --yes --json')}\n\nAsks on a terminal; elsewhere --yes is needed. Who consumes under that name later begins anew.`,
    )
    .action((name: string, options: DeleteOptions) => remove(env, name, options));
}

async function remove(env: CliEnv, name: string, options: DeleteOptions): Promise<void> {
  await withClient(env, options, async client => {
    const subscription = await client.durable.getSubscription(name);
    const what = `${name} on ${subscription.spec?.pattern ?? '?'} with its position`;
    const question = `delete ${what} (not acknowledged: ${backlog(subscription)}), for ever?`;
    await confirm(env, options.yes === true, question);
    await client.durable.deleteSubscription(name);
  });
  if (options.json) return printJson(env, { deleted: name });
  await print(env, `${name} is deleted; its consumers' streams are ended`);
}
