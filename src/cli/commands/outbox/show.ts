import type { Command } from 'commander';
import { FedgateError, fieldError } from '../../../errors.js';
import { parseOrgName } from '../../../identity/names.js';
import { type CliEnv, print, printJson } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { batchesTable, batchJson, describeOutbox, outboxJson } from './text.js';

/** What the gateway gives at once. */
const MAX_BATCHES = 1_000;

interface ShowOptions extends GatewayOptions {
  readonly batches: string;
  readonly json?: boolean;
}

export function registerShow(outbox: Command, env: CliEnv): void {
  const command = outbox
    .command('show')
    .argument('<org>', 'the organisation')
    .description('show what waits for an organisation, with the first batches')
    .option('--batches <n>', `how many batches to show, at most ${MAX_BATCHES}`, '20')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate outbox show GLOBEX', 'fedgate outbox show GLOBEX --batches 1000 --json'))
    .action((org: string, options: ShowOptions) => show(env, org, options));
}

async function show(env: CliEnv, org: string, options: ShowOptions): Promise<void> {
  parseOrgName(org, 'org');
  const maxBatches = parseCount(options.batches, '--batches', 1);
  if (maxBatches > MAX_BATCHES) throw fieldError('--batches', `at most ${MAX_BATCHES}`);
  const { outbox, batches } = await withClient(env, options, client => client.durable.getOutbox(org, maxBatches));
  if (!outbox) throw new FedgateError('INTERNAL', 'the gateway answered without the outbox');
  if (options.json) return printJson(env, { ...outboxJson(outbox), batches: batches.map(batchJson) });
  const nowMs = Date.now();
  await print(env, describeOutbox(outbox, nowMs));
  if (batches.length > 0) await print(env, `\n${batchesTable(batches, nowMs)}`);
}
