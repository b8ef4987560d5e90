import type { Command } from 'commander';
import { FedgateError, fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import type { CliEnv } from '../../env.js';
import { EXIT, exitCodeOf, WORST_FIRST } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect, type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { type DeliveryOptions, parseDelivery, withDeliveryOptions } from './delivery.js';
import { publishLines } from './lines.js';
import { publishOne } from './one.js';
import { type RecordOptions, readRecord } from './record.js';
import { isTopic, publishToTopic } from './topic.js';

interface PubOptions extends GatewayOptions, DeliveryOptions, RecordOptions {
  readonly skip: string;
  readonly patience?: string;
  readonly json?: boolean;
}

export function registerPub(program: Command, env: CliEnv): void {
  const command = program
    .command('pub')
    .argument(
      '<address>',
      '`channel`, or `pubsub://ORG/channel` in another organisation; `@node` as the channel writes to one node; `*` or `@group` as ORG to several organisations; `topic://name` to all who share a topic',
    )
    .argument('[data]', 'the payload; standard input when it is left out')
    .description('publish a record, a file, or every line of standard input')
    .option('--file <path>', 'publish the content of a file as one record')
    .option('--lines', 'publish one record per line of standard input, in order')
    .option('--skip <n>', 'with --lines: leave out the first lines, to carry on where an earlier run ended', '0')
    .option('--content-type <type>', 'media type of the payload')
    .option('--header <name=value>', 'a header; may be repeated', collect)
    .option('--id <id>', "the record's id")
    .option('--key <key>', "the record's key");
  withDeliveryOptions(command)
    .option(
      '--patience <duration>',
      'live: how long gateways may hold the answer while a subscriber is slow (default: 0s; with --lines 30s)',
    )
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate pub orders/created hello',
        'fedgate pub pubsub://GLOBEX/orders/created --file order.json --content-type application/json',
        'fedgate pub pubsub://GLOBEX/orders/created hello --id order-17 --dedupe --ack consumed --ack-timeout 1m',
        "fedgate pub 'pubsub://*/news' hello",
        'fedgate pub pubsub://@suppliers/orders/created --file order.json --json',
        'fedgate pub pubsub://GLOBEX/@erp "are you there?" --live',
        'git log --format=%s | fedgate pub pubsub://GLOBEX/commits --lines',
        'fedgate pub topic://prices/steel "12.50"',
      )}\n\n${DELIVERY_HELP}`,
    )
    .action((address: string, data: string | undefined, options: PubOptions) => publish(env, address, data, options));
}

const DELIVERY_HELP = `Records for other organisations are stored until they have arrived there. When nothing is confirmed in time the record
waits and is sent later; that is no failure, unless --ack asked for a level: then it exits with ${exitCodeOf(new FedgateError('ACK_TIMEOUT', ''))}.
Records for channels of your own organisation go to who is subscribed, and are stored when a durable subscription
matches, or --ack, --ttl or --dedupe is given. Exits with ${EXIT.nothingThere} when a live record reached nobody.
Records for a topic are stored by your own gateway and spread from there over whatever links there are.
To several organisations: prints what became of it for each, and exits with 0 when all took it, else with the code of the worst, which is the
first of ${[...WORST_FIRST].join(', ')}.`;

async function publish(env: CliEnv, address: string, data: string | undefined, options: PubOptions): Promise<void> {
  const given = [data !== undefined, options.file !== undefined, options.lines === true].filter(Boolean).length;
  if (given > 1) throw fieldError('data', 'give one of: DATA, --file, --lines');
  const { lines = false, json = false, contentType } = options;
  const skip = parseCount(options.skip, '--skip');
  if (isTopic(address)) return publishToTopic(env, address, data, options);
  const wish = parseDelivery(options);
  const patienceMs = parseDuration(options.patience ?? (lines ? '30s' : '0s'), '--patience');
  await withClient(env, options, async client => {
    if (lines) await publishLines(env, client, { address, contentType, skip, wish, patienceMs, json });
    else await publishOne(env, client, address, await readRecord(env, data, options), { wish, patienceMs, json });
  });
}
