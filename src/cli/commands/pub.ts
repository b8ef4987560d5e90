import { readFile } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { FedgateClient, PublishReport, PublishSummary, RecordInit } from '../../client/index.js';
import { describe, FedgateError, fieldError } from '../../errors.js';
import { parseDuration } from '../duration.js';
import { type CliEnv, print, printJson, say } from '../env.js';
import { EXIT } from '../exit-codes.js';
import { examples } from '../help.js';
import { NO_LINE_END, readLines } from '../lines.js';
import { collect, connectTo, type GatewayOptions, parseCount, parsePairs, withGatewayOptions } from '../options.js';
import { inputSize, showProgress } from '../progress.js';

interface PubOptions extends GatewayOptions {
  readonly file?: string;
  readonly lines?: boolean;
  readonly skip: string;
  readonly contentType?: string;
  readonly header?: readonly string[];
  readonly id?: string;
  readonly key?: string;
  readonly patience?: string;
  readonly json?: boolean;
}

export function registerPub(program: Command, env: CliEnv): void {
  const command = program
    .command('pub')
    .argument('<address>', '`channel`, or `pubsub://ORG/channel` in another organisation')
    .argument('[data]', 'the payload; standard input when it is left out')
    .description('publish a record, a file, or every line of standard input')
    .option('--file <path>', 'publish the content of a file as one record')
    .option('--lines', 'publish one record per line of standard input, in order')
    .option('--skip <n>', 'with --lines: leave out the first lines, to carry on where an earlier run ended', '0')
    .option('--content-type <type>', 'media type of the payload')
    .option('--header <name=value>', 'a header; may be repeated', collect)
    .option('--id <id>', "the record's id")
    .option('--key <key>', "the record's key")
    .option(
      '--patience <duration>',
      'how long gateways may hold the answer while a subscriber is slow (default: 0s; with --lines 30s)',
    )
    .option('--json', 'report as JSON');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate pub orders/created hello',
        'fedgate pub pubsub://GLOBEX/orders/created --file order.json --content-type application/json',
        'git log --format=%s | fedgate pub pubsub://GLOBEX/commits --lines',
      )}\n\nExits with ${EXIT.nothingThere} when nobody was there to receive.`,
    )
    .action((address: string, data: string | undefined, options: PubOptions) => publish(env, address, data, options));
}

async function publish(env: CliEnv, address: string, data: string | undefined, options: PubOptions): Promise<void> {
  const given = [data !== undefined, options.file !== undefined, options.lines === true].filter(Boolean).length;
  if (given > 1) throw fieldError('data', 'give one of: DATA, --file, --lines');
  const client = await connectTo(env, options);
  try {
    if (options.lines) await publishLines(env, client, address, options);
    else await publishOne(env, client, address, await readRecord(env, data, options), options);
  } finally {
    client.close();
  }
}

async function readRecord(
  env: CliEnv,
  data: string | undefined,
  { file, contentType, header, id, key }: PubOptions,
): Promise<RecordInit> {
  const headers = header && parsePairs(header, '--header');
  const common = { id, key, headers, contentType };
  if (data !== undefined) return { ...common, payload: data };
  if (file === undefined)
    return { ...common, payload: await buffer(env.stdin), contentType: contentType ?? 'application/octet-stream' };
  try {
    return {
      ...common,
      payload: await readFile(file),
      contentType: contentType ?? 'application/octet-stream',
      headers: { ...NO_LINE_END, ...headers },
    };
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `--file ${file}: ${describe(cause)}`, { cause });
  }
}

async function publishOne(
  env: CliEnv,
  client: FedgateClient,
  address: string,
  record: RecordInit,
  { patience, json }: PubOptions,
): Promise<void> {
  const report = await client.publish(address, record, { patienceMs: parseDuration(patience ?? '0s', '--patience') });
  if (report.subscribers === 0) env.exitCode = report.dropped > 0 ? EXIT.limit : EXIT.nothingThere;
  if (json) await printJson(env, { records: 1, ...report });
  else await print(env, describeReport(report));
}

function describeReport({ org, side, subscribers, dropped }: PublishReport): string {
  const where = side === 'local' ? `in ${org}, your own organisation` : `in ${org}`;
  const lost = dropped > 0 ? `; dropped for ${dropped} whose queue is full` : '';
  if (subscribers === 0 && dropped === 0) return `nobody is subscribed ${where}: the record went nowhere`;
  return `delivered to ${subscribers} ${subscribers === 1 ? 'subscription' : 'subscriptions'} ${where}${lost}`;
}

async function publishLines(env: CliEnv, client: FedgateClient, address: string, options: PubOptions): Promise<void> {
  const skip = parseCount(options.skip, '--skip');
  const patienceMs = parseDuration(options.patience ?? '30s', '--patience');
  const progress = showProgress(env, inputSize(env));
  let done: PublishSummary = { records: 0, bytes: 0, dropped: 0, unheard: 0, duplicates: 0 };
  const onProgress = (summary: PublishSummary): void => {
    done = summary;
    // Line ends are part of the input's size.
    progress.update(summary.records, summary.bytes + summary.records);
  };
  addAbortSignal(env.signal, env.stdin);
  try {
    await client.publishAll(address, untilAborted(env, readLines(env.stdin, options.contentType, skip)), {
      patienceMs,
      onProgress,
    });
  } catch (error) {
    progress.stop();
    say(env, `fedgate: ${done.records} lines were published; --skip ${skip + done.records} carries on behind them`);
    throw error;
  }
  progress.stop();
  await reportLines(env, done, skip, options);
}

/** Ctrl-C ends the input: what was read is still published and answered for. */
async function* untilAborted<T>(env: CliEnv, source: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* source;
  } catch (error) {
    if (!env.signal.aborted) throw error;
  }
}

async function reportLines(env: CliEnv, summary: PublishSummary, skip: number, { json }: PubOptions): Promise<void> {
  if (env.signal.aborted) {
    env.exitCode = EXIT.interrupted;
    say(env, `fedgate: interrupted; --skip ${skip + summary.records} carries on behind what was published`);
  } else if (summary.dropped > 0) env.exitCode = EXIT.limit;
  else if (summary.records > 0 && summary.unheard === summary.records) env.exitCode = EXIT.nothingThere;
  if (json) return printJson(env, summary);
  const notes = [
    summary.dropped > 0 ? `${summary.dropped} dropped at a full queue` : '',
    summary.unheard > 0 ? `nobody was there for ${summary.unheard}` : '',
  ];
  await print(
    env,
    [`published ${summary.records} lines, ${summary.bytes} bytes`, ...notes.filter(note => note !== '')].join('; '),
  );
}
