import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { Reply, RequestOptions } from '../../../client/index.js';
import { fieldError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, say, write } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { collect, type GatewayOptions, parsePairs, withClient, withGatewayOptions } from '../../options.js';
import { payloadJson, shownPayload } from '../../shown.js';

interface RequestFlags extends GatewayOptions {
  readonly timeout: string;
  readonly header?: readonly string[];
  readonly contentType?: string;
  readonly idempotencyKey?: string;
  readonly once?: boolean;
  readonly oneWay?: boolean;
  readonly stored?: boolean;
  readonly expires?: string;
  readonly raw?: boolean;
  readonly json?: boolean;
}

export function registerRequest(program: Command, env: CliEnv): void {
  const command = program
    .command('request')
    .argument('<address>', '`channel`, or `pubsub://ORG/channel` in another organisation')
    .argument('[payload]', 'what is asked; standard input when it is left out or `-`')
    .description('ask, and print the reply')
    .option('--timeout <duration>', 'how long the answer may take', '30s')
    .option('--header <name=value>', 'a header; may be repeated', collect)
    .option('--content-type <type>', 'media type of the payload')
    .option('--idempotency-key <key>', 'asked again with the same key within 10 minutes, it gets the first reply')
    .option('--once', 'nobody else may get it when whoever got it goes away before answering')
    .option('--one-way', 'no reply is given: print who got it')
    .option('--stored', 'have it survive outages: print its id, for `fedgate requests answer ID`')
    .option('--expires <duration>', 'with --stored: how long there may be no answer, from 1s to 30d (default: "7d")')
    .option('--raw', 'print the bytes of the reply as they are')
    .option('--json', 'print the reply as a JSON object');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate request quotes/steel 12t',
        'fedgate request pubsub://GLOBEX/quotes/steel 12t --timeout 5s --json',
        'fedgate request pubsub://GLOBEX/printers "page 7" --one-way',
        'fedgate request pubsub://GLOBEX/orders - --stored --expires 2d < order.json',
        'fedgate request pubsub://GLOBEX/orders - --idempotency-key order-17 < order.json',
      )}\n\n${EXITS}`,
    )
    .action((address: string, payload: string | undefined, flags: RequestFlags) => ask(env, address, payload, flags));
}

const EXITS = `Exits with ${EXIT.nothingThere} when nobody answers there, ${EXIT.refused} when it is not granted, ${EXIT.limit} when too many wait: nobody got it then. With ${EXIT.applicationError} when the
responder said no. With ${EXIT.unreachable} when there was no answer in time, or who had it went away; the reason says whether it may have been carried out.`;

async function ask(env: CliEnv, address: string, payload: string | undefined, flags: RequestFlags): Promise<void> {
  const options = { ...readOptions(flags), timeoutMs: parseDuration(flags.timeout, '--timeout'), signal: env.signal };
  if (flags.oneWay && (flags.idempotencyKey ?? flags.once) !== undefined)
    throw fieldError('--one-way', 'is not for --idempotency-key or --once: there is no reply');
  if (flags.stored && (flags.oneWay ?? flags.once) !== undefined)
    throw fieldError('--stored', 'is not for --one-way or --once');
  if (flags.expires !== undefined && !flags.stored)
    throw fieldError('--expires', 'is for --stored; how long a reply may take is --timeout');
  const expireAfterMs = parseDuration(flags.expires ?? '7d', '--expires');
  if (expireAfterMs < 1_000 || expireAfterMs > 30 * 86_400_000) throw fieldError('--expires', 'is from 1s to 30d');
  const content = await readPayload(env, payload);
  if (flags.stored) {
    const { headers, contentType, idempotencyKey } = options;
    const later = { headers, contentType, idempotencyKey, expireAfterMs, timeoutMs: options.timeoutMs };
    const stored = await withClient(env, flags, client => client.stored.ask(address, content, later));
    return flags.json ? printJson(env, { ...stored, expires: stored.expires.toISOString() }) : print(env, stored.id);
  }
  if (flags.oneWay) {
    const handed = await withClient(env, flags, client => client.tell(address, content, options));
    return flags.json ? printJson(env, handed) : print(env, `${handed.org}/${handed.node} has it`);
  }
  const reply = await withClient(env, flags, client => client.request(address, content, options));
  if (reply.attempts > 1) say(env, `fedgate: ${reply.attempts} responders got it: others went away before answering`);
  if (flags.json) await printJson(env, replyJson(reply));
  else if (flags.raw) await write(env.stdout, reply.payload);
  else await print(env, shownPayload(reply.payload));
}

const readOptions = ({ header, contentType, idempotencyKey, once }: RequestFlags): RequestOptions => ({
  headers: header && parsePairs(header, '--header'),
  contentType,
  idempotencyKey,
  once,
});

/** Standard input is read to its end. */
export const readPayload = async (env: CliEnv, payload: string | undefined): Promise<string | Buffer> =>
  payload === undefined || payload === '-' ? buffer(env.stdin) : payload;

export const replyJson = (reply: Reply): object => ({
  org: reply.org,
  node: reply.node,
  attempts: reply.attempts,
  duplicate: reply.duplicate,
  contentType: reply.contentType,
  headers: Object.fromEntries(reply.headers),
  ...payloadJson(reply.payload),
});
