import type { Command } from 'commander';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { type FilterOptions, parseSelection, withFilters } from './selection.js';

interface RedriveOptions extends GatewayOptions, FilterOptions {
  readonly all?: boolean;
  readonly json?: boolean;
}

export function registerRedrive(dead: Command, env: CliEnv): void {
  const command = withFilters(
    dead
      .command('redrive')
      .argument('[id...]', 'those that `fedgate dead list` shows')
      .description('try dead letters again: deliver incoming ones to their subscription, send outgoing ones once more')
      .option('--all', 'all that match the filters'),
  ).option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate dead redrive 17 18', 'fedgate dead redrive --all --subscription billing')}\n\nExits with ${EXIT.nothingThere} when some or all could not be tried again.`,
    )
    .action((ids: string[], options: RedriveOptions) => redrive(env, ids, options));
}

async function redrive(env: CliEnv, ids: readonly string[], options: RedriveOptions): Promise<void> {
  const selection = parseSelection(ids, options);
  const { redriven, skipped } = await withClient(env, options, client => client.durable.redrive(selection));
  if (skipped > 0n || redriven === 0n) env.exitCode = EXIT.nothingThere;
  if (options.json) return printJson(env, { redriven, skipped });
  const rest =
    skipped > 0n
      ? `; ${plural(skipped, 'is', 'are')} left: the records are no longer held, or the subscription is gone`
      : '';
  await print(env, `tried again: ${plural(redriven, 'dead letter')}${rest}`);
}
