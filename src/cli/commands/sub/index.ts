import type { Command } from 'commander';
import type { Message, MessageBatch } from '../../client/index.js';
import { FedgateError, fieldError } from '../../errors.js';
import { escapeControls } from '../../text.js';
import { parseDuration } from '../duration.js';
import { type CliEnv, say, write } from '../env.js';
import { EXIT } from '../exit-codes.js';
import { examples } from '../help.js';
import { LINE_END_HEADER } from '../lines.js';
import { connectTo, type GatewayOptions, parseCount, withGatewayOptions } from '../options.js';

interface SubOptions extends GatewayOptions {
  readonly count?: string;
  readonly raw?: boolean;
  readonly json?: boolean;
  readonly timeout?: string;
}

export function registerSub(program: Command, env: CliEnv): void {
  const command = program
    .command('sub')
    .argument('<pattern>', 'a channel of your own organisation; `*` is one segment, a last `**` any number')
    .description('print the records that arrive')
    .option('--count <n>', 'end after this many records')
    .option('--timeout <duration>', 'end after this long')
    .option(
      '--raw',
      'payloads only: each followed by a line feed, unless it is binary (application/octet-stream) or says it is no line',
    )
    .option('--json', 'one JSON object per record');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples('fedgate sub "orders/*"', 'fedgate sub "**" --json | jq .sender', 'fedgate sub commits --raw --count 100 > commits.txt')}\n\nExits with ${EXIT.nothingThere} when --timeout ends it before --count.`,
    )
    .action((pattern: string, options: SubOptions) => subscribe(env, pattern, options));
}

async function subscribe(env: CliEnv, pattern: string, options: SubOptions): Promise<void> {
  if (options.raw && options.json) throw fieldError('--raw', 'give one of: --raw, --json');
  const count = options.count === undefined ? Number.POSITIVE_INFINITY : parseCount(options.count, '--count', 1);
  const timeout =
    options.timeout === undefined ? undefined : AbortSignal.timeout(parseDuration(options.timeout, '--timeout'));
  const client = await connectTo(env, options);
  try {
    const signal = timeout ? AbortSignal.any([env.signal, timeout]) : env.signal;
    const subscription = client.subscribe(pattern, {
      signal,
      onLoss: loss => say(env, `fedgate: ${describeLoss(loss)}`),
    });
    subscription.opened.then(
      () => say(env, `fedgate: subscribed to ${pattern}`),
      () => undefined,
    );
    const format = options.raw ? rawPayload : options.json ? jsonLine : readableLine;
    const printed = await printAll(env, subscription.batches(), count, format);
    if (printed < count && env.signal.aborted) env.exitCode = EXIT.interrupted;
    else if (printed < count && options.count !== undefined) {
      throw new FedgateError('DEADLINE_EXCEEDED', `${printed} of ${count} records came in time`);
    }
  } finally {
    client.close();
  }
}

type Format = (message: Message, out: (string | Uint8Array)[]) => void;

/** Prints batch by batch, and waits each time until standard output has taken it. */
async function printAll(
  env: CliEnv,
  batches: AsyncIterable<MessageBatch>,
  count: number,
  format: Format,
): Promise<number> {
  let printed = 0;
  for await (const batch of batches) {
    const out: (string | Uint8Array)[] = [];
    for (const message of batch) {
      format(message, out);
      if (++printed >= count) break;
    }
    await write(env.stdout, Buffer.concat(out.map(part => (typeof part === 'string' ? Buffer.from(part) : part))));
    if (printed >= count) break;
  }
  return printed;
}

const LINE_END = Buffer.from('\n');

function rawPayload(message: Message, out: (string | Uint8Array)[]): void {
  out.push(message.payload);
  const isLine = message.contentType !== 'application/octet-stream' && message.headers.get(LINE_END_HEADER) !== 'none';
  if (isLine) out.push(LINE_END);
}

function jsonLine(message: Message, out: (string | Uint8Array)[]): void {
  const { payload } = message;
  const text = payload.toString('utf8');
  const isText = Buffer.from(text).equals(payload);
  const line = {
    channel: message.channel,
    sender: { org: message.senderOrg, node: message.senderNode },
    ...(message.id ? { id: message.id } : {}),
    ...(message.key.length > 0 ? { key: message.key.toString('utf8') } : {}),
    ...(message.timeMs > 0 ? { time: new Date(message.timeMs).toISOString() } : {}),
    ...(message.contentType ? { contentType: message.contentType } : {}),
    ...(message.headers.size > 0 ? { headers: Object.fromEntries(message.headers) } : {}),
    ...(isText ? { payload: text } : { payloadBase64: payload.toString('base64') }),
  };
  out.push(`${JSON.stringify(line)}\n`);
}

function readableLine(message: Message, out: (string | Uint8Array)[]): void {
  const time = message.timeMs > 0 ? new Date(message.timeMs).toISOString().slice(11, 23) : '-';
  out.push(`${time}  ${message.senderOrg}/${message.senderNode}  ${message.channel}  ${shown(message.payload)}\n`);
}

/** Payloads come from strangers: what would draw on the terminal is escaped. */
function shown(payload: Buffer): string {
  const text = payload.toString('utf8');
  if (!Buffer.from(text).equals(payload)) return `(${payload.length} bytes, binary)`;
  return escapeControls(text);
}

const describeLoss = ({
  records,
  why,
}: {
  readonly records: number | undefined;
  readonly why: 'slow' | 'disconnected';
}): string =>
  why === 'slow'
    ? `lost ${records} records: this subscriber was too slow`
    : 'records published while the gateway was gone are lost to this subscription';
