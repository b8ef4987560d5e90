import type { Command } from 'commander';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeNode, nodeJson } from './text.js';

interface WatchOptions extends GatewayOptions {
  readonly json?: boolean;
  readonly timeout?: string;
}

export function registerNodesWatch(nodes: Command, env: CliEnv): void {
  const command = nodes
    .command('watch')
    .argument('[org]', 'another organisation, of which you see what it shows; your own when it is left out')
    .description('print the nodes of an organisation as they are, and then each change')
    .option('--timeout <duration>', 'end after this long')
    .option('--json', 'one JSON object per line');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate nodes watch', 'fedgate nodes watch GLOBEX --json'))
    .action((org: string | undefined, options: WatchOptions) => watch(env, org, options));
}

async function watch(env: CliEnv, org: string | undefined, options: WatchOptions): Promise<void> {
  const timeout =
    options.timeout === undefined ? undefined : AbortSignal.timeout(parseDuration(options.timeout, '--timeout'));
  const signal = timeout ? AbortSignal.any([env.signal, timeout]) : env.signal;
  await withClient(env, options, async client => {
    for await (const { nodes, interrupted } of client.nodes.watch({ signal, ...(org === undefined ? {} : { org }) })) {
      if (interrupted) say(env, `fedgate: interrupted: ${interrupted.message}; going on when it is back`);
      for (const node of nodes) await (options.json ? printJson(env, nodeJson(node)) : print(env, describeNode(node)));
    }
  });
  if (env.signal.aborted) env.exitCode = EXIT.interrupted;
}
