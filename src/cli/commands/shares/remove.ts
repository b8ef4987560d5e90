import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';

export function registerRemove(shares: Command, env: CliEnv): void {
  const command = shares
    .command('remove')
    .argument('<share...>', 'ids of shares of this node')
    .description('end shares; downloads under way end, what was fetched stays where it is')
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate shares remove share://ACME/8d0c6a54d2f145cd9b3f8a0f0f4b9a11'))
    .action((ids: string[], options: GatewayOptions & { json?: boolean }) => remove(env, ids, options));
}

async function remove(
  env: CliEnv,
  ids: readonly string[],
  options: GatewayOptions & { json?: boolean },
): Promise<void> {
  await withClient(env, options, async client => {
    for (const id of ids) {
      await client.unshare(id);
      if (options.json) await printJson(env, { event: 'removed', share: id });
      else await print(env, `${id} is over`);
    }
  });
}
