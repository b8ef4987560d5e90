import type { Command } from 'commander';
import { formatCount } from '../../counts.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { POSITION_HELP, parsePosition } from '../../position.js';
import { backlog, subscriptionJson } from './text.js';

export function registerSeek(subs: Command, env: CliEnv): void {
  const command = subs
    .command('seek')
    .argument('<name>', 'one that `fedgate subs list` shows')
    .argument('<position>', POSITION_HELP)
    .description('move a durable subscription: what is behind the position is delivered, also what was acknowledged')
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate subs seek billing earliest',
        'fedgate subs seek billing 1h      # all that was stored in the last hour, once more',
        'fedgate subs seek billing latest  # skip what waits',
      ),
    )
    .action((name: string, position: string, options: GatewayOptions & { json?: boolean }) =>
      seek(env, name, position, options),
    );
}

async function seek(
  env: CliEnv,
  name: string,
  text: string,
  options: GatewayOptions & { json?: boolean },
): Promise<void> {
  const position = parsePosition(text, 'position', Date.now());
  const subscription = await withClient(env, options, client => client.durable.seekSubscription(name, position));
  if (options.json) return printJson(env, subscriptionJson(subscription));
  await print(
    env,
    `${name} is at offset ${formatCount(subscription.offset)} now; waiting for it: ${backlog(subscription)}`,
  );
}
