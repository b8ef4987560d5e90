import type { Command } from 'commander';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { nodeJson, nodesTable } from './text.js';

export function registerNodesFind(nodes: Command, env: CliEnv): void {
  const command = nodes
    .command('find')
    .argument('<node>', 'the name of a node')
    .description('look for a node in your own organisation and in every other that shows you its nodes')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate nodes find erp')}\n\nExits with ${EXIT.nothingThere} when nobody has one.`,
    )
    .action(async (node: string, options: GatewayOptions & { json?: boolean }) => {
      const { nodes: found, unanswered } = await withClient(env, options, client => client.nodes.find(node));
      for (const { org, error } of unanswered)
        say(env, `fedgate: ${org} did not answer: ${error.message} [${error.reason}]`);
      if (found.length === 0) env.exitCode = EXIT.nothingThere;
      if (options.json) return printJson(env, found.map(nodeJson));
      await print(env, found.length === 0 ? `no organisation shows you a node ${node}` : nodesTable(found, Date.now()));
    });
}
