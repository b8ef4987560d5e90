import type { Command } from 'commander';
import { parseOrgName } from '../../../identity/names.js';
import { confirm, YES_OPTION } from '../../confirm.js';
import { plural } from '../../counts.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { formatBytes } from '../../progress.js';

interface PurgeOptions extends GatewayOptions {
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerPurge(outbox: Command, env: CliEnv): void {
  const command = outbox
    .command('purge')
    .argument('<org>', 'the organisation')
    .description('drop what waits for an organisation, for ever; publishers that wait for an answer are told')
    .option(...YES_OPTION)
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate outbox purge GLOBEX', 'fedgate outbox purge GLOBEX --yes --json')}\n\nAsks on a terminal; elsewhere --yes is needed. The other organisation is told the numbers that will not come.`,
    )
    .action((org: string, options: PurgeOptions) => purge(env, org, options));
}

async function purge(env: CliEnv, org: string, options: PurgeOptions): Promise<void> {
  parseOrgName(org, 'org');
  const { batches, records } = await withClient(env, options, async client => {
    const { outbox } = await client.durable.getOutbox(org, 1);
    const waiting = `${plural(outbox?.waitingRecords ?? 0, 'record')} (${formatBytes(Number(outbox?.waitingBytes ?? 0))})`;
    await confirm(env, options.yes === true, `drop ${waiting} waiting for ${org}, for ever?`);
    return client.durable.purgeOutbox(org);
  });
  if (options.json) return printJson(env, { org, batches, records });
  await print(env, `dropped ${plural(records, 'record')} in ${plural(batches, 'batch', 'batches')} for ${org}`);
}
