import type { Command } from 'commander';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { nodeJson, nodesTable } from './text.js';

export function registerNodesList(nodes: Command, env: CliEnv): void {
  const command = nodes
    .command('list')
    .argument('[org]', 'another organisation, of which you see what it shows; your own when it is left out')
    .description('show the nodes of an organisation, whether each is connected, and why not')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate nodes list',
        'fedgate nodes list GLOBEX --json | jq -r \'.[] | select(.state == "connected").node\'',
      ),
    )
    .action(async (org: string | undefined, options: GatewayOptions & { json?: boolean }) => {
      const found = await withClient(env, options, client => client.nodes.list(org));
      if (options.json) return printJson(env, found.map(nodeJson));
      if (found.length === 0) return print(env, org ? `${org} shows you no nodes` : 'no node was ever connected');
      await print(env, nodesTable(found, Date.now()));
    });
}
