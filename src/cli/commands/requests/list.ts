import type { Command } from 'commander';
import type { StoredRequest } from '../../../client/index.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { requestJson, requestsTable } from './text.js';

export function registerRequestsList(requests: Command, env: CliEnv): void {
  const command = requests
    .command('list')
    .description('show the stored requests of this node, the newest first')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate requests list', 'fedgate requests list --json'))
    .action(async (options: GatewayOptions & { json?: boolean }) => {
      const found = await withClient(env, options, async client => {
        const all: StoredRequest[] = [];
        for await (const request of client.stored.list()) all.push(request);
        return all;
      });
      if (options.json) return printJson(env, found.map(requestJson));
      await print(env, found.length === 0 ? 'no stored requests' : requestsTable(found, Date.now()));
    });
}
