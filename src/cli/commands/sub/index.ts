import type { Command } from 'commander';
import { fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { printDurable } from './durable.js';
import { type DurableFlags, parseDurable, withDurableOptions } from './durable-options.js';
import { type Format, jsonLine, rawPayload, readableLine } from './formats.js';
import { printLive } from './live.js';
import { isTopic, parseReading, printTopic } from './topic.js';

interface SubOptions extends GatewayOptions, DurableFlags {
  readonly inbox?: boolean;
  readonly places?: string;
  readonly count?: string;
  readonly raw?: boolean;
  readonly json?: boolean;
  readonly timeout?: string;
}

export function registerSub(program: Command, env: CliEnv): void {
  const command = program
    .command('sub')
    .argument(
      '[pattern]',
      'a channel of your own organisation; `*` is one segment, a last `**` any number; or `topic://name`',
    )
    .description('print the records that arrive')
    .option('--inbox', 'instead of a pattern: what others write to this very node')
    .option('--places <file>', 'a topic: where it came to is read from this file, and kept in it')
    .option('--count <n>', 'end after this many records')
    .option('--timeout <duration>', 'end after this long')
    .option(
      '--raw',
      'payloads only: each followed by a line feed, unless it is binary (application/octet-stream) or says it is no line',
    )
    .option('--json', 'one JSON object per record');
  withGatewayOptions(withDurableOptions(command))
    .addHelpText(
      'after',
      `${examples(
        'fedgate sub "orders/*"',
        'fedgate sub "**" --json | jq .sender',
        'fedgate sub commits --raw --count 100 > commits.txt',
        'fedgate sub "orders/*" --durable billing --from earliest',
        'fedgate sub --inbox --durable inbox',
        'fedgate sub topic://prices/steel --from earliest',
        'fedgate sub topic://prices/steel --places steel.json',
      )}\n\nWith --durable each record is acknowledged once it is written out; what Ctrl-C or --count leaves comes next time.\nExits with ${EXIT.nothingThere} when --timeout ends it before --count.`,
    )
    .action((pattern: string | undefined, options: SubOptions) => subscribe(env, pattern, options));
}

async function subscribe(env: CliEnv, asked: string | undefined, options: SubOptions): Promise<void> {
  if ((asked === undefined) !== (options.inbox === true)) throw fieldError('pattern', 'give one of: PATTERN, --inbox');
  const format = parseFormat(options);
  const count = options.count === undefined ? Number.POSITIVE_INFINITY : parseCount(options.count, '--count', 1);
  const timeout =
    options.timeout === undefined ? undefined : AbortSignal.timeout(parseDuration(options.timeout, '--timeout'));
  const topic = asked !== undefined && isTopic(asked);
  if (options.places !== undefined && !topic) throw fieldError('--places', 'only for a topic');
  const reading = topic ? await parseReading(options) : undefined;
  const durable = topic ? undefined : parseDurable(options, Date.now());
  const signal = timeout ? AbortSignal.any([env.signal, timeout]) : env.signal;
  const printing = { count, signal, format, json: options.json === true };
  const printed = await withClient(env, options, client => {
    const pattern = asked ?? client.inbox;
    if (reading) return printTopic(env, client, pattern, reading, { ...printing, raw: options.raw === true });
    return durable ? printDurable(env, client, pattern, durable, printing) : printLive(env, client, pattern, printing);
  });
  if (printed < count && env.signal.aborted) env.exitCode = EXIT.interrupted;
  else if (printed < count && options.count !== undefined) {
    say(env, `fedgate: ${printed} of ${count} records came in time`);
    env.exitCode = EXIT.nothingThere;
  }
}

function parseFormat({ raw, json }: SubOptions): Format {
  if (raw && json) throw fieldError('--raw', 'give one of: --raw, --json');
  return raw ? rawPayload : json ? jsonLine : readableLine;
}
