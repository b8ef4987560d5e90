import type { Command } from 'commander';
import type { DeadLetter } from '../../../../gen/ts/fedgate/gateway/v1/durable_service.js';
import { formatCount } from '../../counts.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { type FilterOptions, parseFilters, withFilters } from './selection.js';
import { deadLetterJson, deadLettersTable } from './text.js';

/** What the gateway gives at once. */
const PAGE = 1_000;

interface ListOptions extends GatewayOptions, FilterOptions {
  readonly limit: string;
  readonly after: string;
  readonly json?: boolean;
}

export function registerList(dead: Command, env: CliEnv): void {
  const command = withFilters(dead.command('list'))
    .description('list dead letters, oldest first: where they were going, and why they were given up')
    .option('--limit <n>', 'how many at most', '100')
    .option('--after <id>', 'only those with a higher id', '0')
    .option('--json', 'list as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate dead list',
        'fedgate dead list --outgoing --org GLOBEX',
        'fedgate dead list --json | jq .[].reason',
      ),
    )
    .action((options: ListOptions) => list(env, options));
}

async function list(env: CliEnv, options: ListOptions): Promise<void> {
  const filters = parseFilters(options);
  const limit = parseCount(options.limit, '--limit', 1);
  let afterId = BigInt(parseCount(options.after, '--after'));
  const letters: DeadLetter[] = [];
  const total = await withClient(env, options, async client => {
    for (;;) {
      const pageSize = Math.min(PAGE, limit - letters.length);
      const page = await client.durable.listDeadLetters({ ...filters, pageSize, afterId });
      letters.push(...page.deadLetters);
      afterId = letters.at(-1)?.id ?? afterId;
      if (page.deadLetters.length < pageSize || letters.length >= limit) return page.total;
    }
  });
  if (options.json) return printJson(env, letters.map(deadLetterJson));
  if (letters.length === 0)
    return say(env, total > 0n ? `none that match; ${formatCount(total)} in all` : 'there are no dead letters');
  await print(env, deadLettersTable(letters, Date.now()));
  if (letters.length === limit) say(env, `${formatCount(total)} in all; --after ${afterId} shows those behind these`);
}
