import type { Command } from 'commander';
import { FedgateError, fieldError } from '../../../errors.js';
import { type CliEnv, print, printJson, write } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { deadLetterJson, describeDeadLetter, describeRecord, recordJson } from './text.js';

interface ShowOptions extends GatewayOptions {
  readonly raw?: boolean;
  readonly json?: boolean;
}

export function registerShow(dead: Command, env: CliEnv): void {
  const command = dead
    .command('show')
    .argument('<id>', 'one that `fedgate dead list` shows')
    .description('show a dead letter with its records')
    .option('--raw', 'nothing but the payloads, one behind the other')
    .option('--json', 'show as JSON');
  withGatewayOptions(command)
    .addHelpText('after', examples('fedgate dead show 17', 'fedgate dead show 17 --raw > record.json'))
    .action((id: string, options: ShowOptions) => show(env, id, options));
}

async function show(env: CliEnv, id: string, options: ShowOptions): Promise<void> {
  if (options.raw && options.json) throw fieldError('--raw', 'give one of: --raw, --json');
  const { deadLetter, records } = await withClient(env, options, client =>
    client.durable.getDeadLetter(BigInt(parseCount(id, 'id', 1))),
  );
  if (!deadLetter) throw new FedgateError('INTERNAL', 'the gateway answered without the dead letter');
  if (options.json) return printJson(env, { ...deadLetterJson(deadLetter), contents: records.map(recordJson) });
  if (options.raw) {
    if (!deadLetter.held)
      throw new FedgateError('DEAD_LETTER_UNKNOWN', `the records of dead letter ${id} are no longer held`);
    return write(env.stdout, Buffer.concat(records.map(({ payload }) => payload)));
  }
  await print(env, describeDeadLetter(deadLetter, Date.now()));
  if (records.length > 0) await print(env, `\n${records.map(describeRecord).join('\n')}`);
}
