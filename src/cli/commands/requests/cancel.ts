import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { requestJson } from './text.js';

export function registerRequestsCancel(requests: Command, env: CliEnv): void {
  const command = requests
    .command('cancel')
    .argument('<id>', 'the id that `fedgate request --stored` printed')
    .description('end a stored request; it may have been carried out')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate requests cancel 0f6c2b7a94d24ae3b6f1c9d05e8a7b13'))
    .action(async (id: string, options: GatewayOptions & { json?: boolean }) => {
      const request = await withClient(env, options, client => client.stored.cancel(id));
      await (options.json ? printJson(env, requestJson(request)) : print(env, `${id}: ${request.state}`));
    });
}
