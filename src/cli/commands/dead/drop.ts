import type { Command } from 'commander';
import { confirm, YES_OPTION } from '../../confirm.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { describeSelection, type FilterOptions, parseSelection, withFilters } from './selection.js';

interface DropOptions extends GatewayOptions, FilterOptions {
  readonly all?: boolean;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerDrop(dead: Command, env: CliEnv): void {
  const command = withFilters(
    dead
      .command('drop')
      .argument('[id...]', 'those that `fedgate dead list` shows')
      .description('forget dead letters, for ever')
      .option('--all', 'all that match the filters'),
  )
    .option(...YES_OPTION)
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate dead drop 17', 'fedgate dead drop --all --outgoing --org GLOBEX --yes')}\n\nAsks on a terminal; elsewhere --yes is needed. Exits with ${EXIT.nothingThere} when there was nothing to forget.`,
    )
    .action((ids: string[], options: DropOptions) => drop(env, ids, options));
}

async function drop(env: CliEnv, ids: readonly string[], options: DropOptions): Promise<void> {
  const selection = parseSelection(ids, options);
  await confirm(env, options.yes === true, `drop ${describeSelection(selection)}, for ever?`);
  const { dropped } = await withClient(env, options, client => client.durable.drop(selection));
  if (dropped === 0n) env.exitCode = EXIT.nothingThere;
  if (options.json) return printJson(env, { dropped });
  await print(env, `dropped ${plural(dropped, 'dead letter')}`);
}
