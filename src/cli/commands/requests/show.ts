import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeRequest, requestJson } from './text.js';

export function registerRequestsShow(requests: Command, env: CliEnv): void {
  const command = requests
    .command('show')
    .argument('<id>', 'the id that `fedgate request --stored` printed')
    .description('show how a stored request stands')
    .option('--json', 'show as JSON, with the reply');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate requests show 0f6c2b7a94d24ae3b6f1c9d05e8a7b13')}\n\nExits with ${EXIT.nothingThere} when there is no such request.`,
    )
    .action(async (id: string, options: GatewayOptions & { json?: boolean }) => {
      const request = await withClient(env, options, client => client.stored.get(id));
      await (options.json ? printJson(env, requestJson(request)) : print(env, describeRequest(request)));
    });
}
