import type { Command } from 'commander';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { outboxesTable, outboxJson } from './text.js';

export function registerList(outbox: Command, env: CliEnv): void {
  const command = outbox
    .command('list')
    .description('list what waits for each organisation, and why')
    .option('--json', 'list as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate outbox list', "fedgate outbox list --json | jq '.[].waitingRecords'"))
    .action((options: GatewayOptions & { json?: boolean }) => list(env, options));
}

async function list(env: CliEnv, options: GatewayOptions & { json?: boolean }): Promise<void> {
  const outboxes = await withClient(env, options, client => client.durable.listOutboxes());
  if (options.json) return printJson(env, outboxes.map(outboxJson));
  if (outboxes.length === 0) return say(env, 'there are no outboxes: nothing was sent to another organisation yet');
  await print(env, outboxesTable(outboxes, Date.now()));
}
