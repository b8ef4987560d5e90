import { addAbortSignal } from 'node:stream';
import type { FedgateClient, RecordInit, TopicReceipt } from '../../../client/index.js';
import { FedgateError, fieldError } from '../../../errors.js';
import { plural } from '../../counts.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { readLines } from '../../lines.js';
import { type GatewayOptions, parseCount, withClient } from '../../options.js';
import type { DeliveryOptions } from './delivery.js';
import { type RecordOptions, readRecord } from './record.js';

/** Whether an address is one of a topic. */
export const isTopic = (address: string): boolean => address.startsWith('topic://');

export interface TopicPubOptions extends GatewayOptions, DeliveryOptions, RecordOptions {
  readonly skip: string;
  readonly patience?: string;
  readonly json?: boolean;
}

const NOT_HERE = {
  live: '--live',
  ack: '--ack',
  ackTimeout: '--ack-timeout',
  dedupe: '--dedupe',
  patience: '--patience',
};
/** Lines that are on their way at once. */
const WINDOW = 2_000;

/** Publishes to a topic: a record, or every line of standard input. */
export async function publishToTopic(
  env: CliEnv,
  address: string,
  data: string | undefined,
  options: TopicPubOptions,
): Promise<void> {
  const stray = Object.entries(NOT_HERE).find(([name]) => options[name as keyof TopicPubOptions] !== undefined);
  if (stray) throw fieldError(stray[1], 'not for a topic');
  const ttlMs = options.ttl === undefined ? 0 : parseDuration(options.ttl, '--ttl');
  await withClient(env, options, async client => {
    if (options.lines) return publishLines(env, client, address, ttlMs, options);
    const receipt = await client.topic(address).publish(await readRecord(env, data, options), { ttlMs });
    await report(env, receipt, 1, options.json === true);
  });
}

async function publishLines(
  env: CliEnv,
  client: FedgateClient,
  address: string,
  ttlMs: number,
  { contentType, skip: from, json = false }: TopicPubOptions,
): Promise<void> {
  const topic = client.topic(address);
  const skip = parseCount(from, '--skip');
  addAbortSignal(env.signal, env.stdin);
  let published = 0;
  let last: TopicReceipt | undefined;
  const open: Promise<TopicReceipt>[] = [];
  const settle = async (): Promise<void> => {
    last = await open.shift();
    published++;
  };
  try {
    for await (const record of untilAborted(env.signal, readLines(env.stdin, contentType, skip))) {
      const receipt = topic.publish(record, { ttlMs });
      // Looked at in order, below.
      receipt.catch(() => undefined);
      open.push(receipt);
      if (open.length >= WINDOW) await settle();
    }
    while (open.length > 0) await settle();
  } catch (error) {
    say(env, `fedgate: ${published} lines were published; --skip ${skip + published} carries on behind them`);
    throw error;
  }
  if (env.signal.aborted) env.exitCode = EXIT.interrupted;
  if (last) await report(env, last, published, json);
  else await (json ? printJson(env, { records: 0 }) : print(env, 'there was nothing to publish'));
}

async function* untilAborted(signal: AbortSignal, source: AsyncIterable<RecordInit>): AsyncGenerator<RecordInit> {
  try {
    yield* source;
  } catch (error) {
    if (!signal.aborted || error instanceof FedgateError) throw error;
  }
}

async function report(env: CliEnv, { place, links }: TopicReceipt, records: number, json: boolean): Promise<void> {
  if (json) return printJson(env, { records, place, links });
  const spread =
    links === 0
      ? 'no gateway that shares the topic is linked: it spreads once one is'
      : `${plural(links, 'gateway that shares', 'gateways that share')} the topic ${links === 1 ? 'is' : 'are'} linked`;
  const what = records === 1 ? 'published' : `published ${records} lines`;
  await print(env, `${what}: ${place.org}/${place.gateway} record ${place.sequence}; ${spread}`);
}
