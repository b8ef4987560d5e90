import { readFile } from 'node:fs/promises';
import type {
  FedgateClient,
  TopicLoss,
  TopicMessage,
  TopicPlace,
  TopicSubscribeOptions,
  TopicSubscription,
} from '../../../client/index.js';
import { describe, FedgateError, fieldError } from '../../../errors.js';
import { writeFileAtomically } from '../../../identity/files.js';
import { plural } from '../../counts.js';
import { type CliEnv, printJson, say, write } from '../../env.js';
import { LINE_END_HEADER } from '../../lines.js';
import { payloadJson, shownPayload } from '../../shown.js';
import { isoTime } from '../../times.js';
import { joined } from './formats.js';

/** Whether an address is one of a topic. */
export const isTopic = (address: string): boolean => address.startsWith('topic://');

/** How a topic is read. */
export interface Reading extends Pick<TopicSubscribeOptions, 'from' | 'after'> {
  /** Where the places are kept. */
  readonly file: string | undefined;
}

const STRAY = { durable: '--durable', group: '--group', ackWait: '--ack-wait', maxDeliveries: '--max-deliveries' };
/** How often places are kept, at least. */
const KEEP_MS = 1_000;

/** Throws FIELD_INVALID naming the option, FILE_UNUSABLE. */
export async function parseReading(
  options: {
    readonly [name in keyof typeof STRAY]?: unknown;
  } & { readonly from?: string; readonly places?: string },
): Promise<Reading> {
  const stray = Object.entries(STRAY).find(([name]) => options[name as keyof typeof STRAY] !== undefined);
  if (stray) throw fieldError(stray[1], 'not for a topic: --places keeps where it came to');
  const { from = 'latest', places: file } = options;
  if (from !== 'latest' && from !== 'earliest') throw fieldError('--from', 'of a topic: latest or earliest');
  const after = file === undefined ? [] : await readPlaces(file);
  return { from: from === 'earliest' ? 'earliest' : 'new', after, file };
}

/** None when there is no such file yet. */
async function readPlaces(file: string): Promise<TopicPlace[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new FedgateError('FILE_UNUSABLE', `--places ${file}: ${describe(cause)}`, { cause });
  }
  try {
    const { places } = JSON.parse(text) as { places: TopicPlace[] };
    return places.map(({ org, gateway, epoch, sequence }) => ({
      org: String(org),
      gateway: String(gateway),
      epoch: String(BigInt(epoch)),
      sequence: Number(sequence),
    }));
  } catch (cause) {
    throw new FedgateError('FILE_UNUSABLE', `--places ${file}: it holds no places of a topic`, { cause });
  }
}

export interface TopicPrinting {
  readonly count: number;
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly raw: boolean;
}

/** Prints what arrives until the signal fires or `count` are printed. Returns how many were. */
export async function printTopic(
  env: CliEnv,
  client: FedgateClient,
  address: string,
  { file, ...start }: Reading,
  { count, signal, json, raw }: TopicPrinting,
): Promise<number> {
  const subscription = client.topic(address).subscribe({
    ...start,
    signal,
    onLoss: loss => tellLoss(env, loss, json),
    onMuted: ({ org, gateway, error }) =>
      say(env, `fedgate: nothing more is taken of ${org}/${gateway}: ${error.message} [${error.reason}]`),
  });
  subscription.opened.then(
    () => say(env, `fedgate: subscribed to ${address}`),
    () => undefined,
  );
  const format = raw ? rawPayload : json ? jsonLine : readableLine;
  let printed = 0;
  let keptMs = Date.now();
  try {
    for await (const message of subscription) {
      await write(env.stdout, format(message));
      if (++printed >= count) break;
      if (file !== undefined && Date.now() - keptMs >= KEEP_MS) {
        await keep(file, subscription);
        keptMs = Date.now();
      }
    }
  } finally {
    if (file !== undefined) await keep(file, subscription);
  }
  return printed;
}

const keep = (file: string, { places }: TopicSubscription): Promise<void> =>
  writeFileAtomically(file, `${JSON.stringify({ places }, undefined, 2)}\n`);

function tellLoss(env: CliEnv, { place, records, why }: TopicLoss, json: boolean): void {
  if (json) return void printJson(env, { lost: records, why, ...place }).catch(() => undefined);
  const reason = why === 'expired' ? 'their time was over' : 'nobody holds them any more';
  say(env, `fedgate: lost ${plural(records, 'record')} from ${place.org}/${place.gateway}: ${reason}`);
}

const rawPayload = ({ payload, contentType, headers }: TopicMessage): Uint8Array => {
  const isLine = contentType !== 'application/octet-stream' && headers.get(LINE_END_HEADER) !== 'none';
  return isLine ? joined([payload, '\n']) : payload;
};

function jsonLine(message: TopicMessage): string {
  const { topic, senderOrg, senderNode, place, id, key, timeMs, contentType, headers, payload } = message;
  const line = {
    topic,
    sender: { org: senderOrg, node: senderNode },
    ...{ gateway: place.gateway, epoch: place.epoch, sequence: place.sequence },
    ...(id ? { id } : {}),
    ...(key.length > 0 ? { key: key.toString('utf8') } : {}),
    ...(timeMs > 0 ? { time: isoTime(timeMs) } : {}),
    ...(contentType ? { contentType } : {}),
    ...(headers.size > 0 ? { headers: Object.fromEntries(headers) } : {}),
    ...payloadJson(payload),
  };
  return `${JSON.stringify(line)}\n`;
}

function readableLine({ timeMs, senderOrg, senderNode, topic, place, payload }: TopicMessage): string {
  const time = timeMs > 0 ? isoTime(timeMs).slice(11, 23) : '-';
  const name = topic.replace(/^topic:\/\//, '');
  return `${time}  ${senderOrg}/${senderNode}  ${name} ${place.sequence}  ${shownPayload(payload)}\n`;
}
