import type { Command } from 'commander';
import type { FedgateClient, StoredRequest } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, print, printJson, write } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { shownPayload } from '../../shown.js';
import { requestJson } from './text.js';

interface AnswerFlags extends GatewayOptions {
  readonly wait?: string;
  readonly keep?: boolean;
  readonly raw?: boolean;
  readonly json?: boolean;
}

export function registerRequestsAnswer(requests: Command, env: CliEnv): void {
  const command = requests
    .command('answer')
    .argument('<id>', 'the id that `fedgate request --stored` printed')
    .description('wait for the answer of a stored request, print it, and have the gateway forget it')
    .option('--wait <duration>', 'how long; for as long as it takes when it is left out')
    .option('--keep', 'let the gateway keep it')
    .option('--raw', 'print the bytes of the reply as they are')
    .option('--json', 'print it as a JSON object');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate requests answer 0f6c2b7a94d24ae3b6f1c9d05e8a7b13',
        'fedgate requests answer 0f6c2b7a94d24ae3b6f1c9d05e8a7b13 --wait 10s --keep --json',
      )}\n\nExits with ${EXIT.applicationError} when the responder said no, with ${EXIT.unreachable} when there is no answer in time, and as the reason says when there will be none.`,
    )
    .action((id: string, flags: AnswerFlags) => answer(env, id, flags));
}

async function answer(env: CliEnv, id: string, flags: AnswerFlags): Promise<void> {
  const late = flags.wait === undefined ? undefined : AbortSignal.timeout(parseDuration(flags.wait, '--wait'));
  const signal = late ? AbortSignal.any([env.signal, late]) : env.signal;
  await withClient(env, flags, async client => {
    const request = await ended(client, id, signal, late);
    if (flags.json) await printJson(env, requestJson(request));
    else if (request.reply)
      await (flags.raw ? write(env.stdout, request.reply.payload) : print(env, shownPayload(request.reply.payload)));
    // It is forgotten once it is printed, and not before.
    if (!flags.keep && request.state !== 'acknowledged') await client.stored.acknowledge(id);
    if (request.error) throw request.error;
    if (!request.reply) throw new FedgateError('CANCELLED', `the request is ${request.state}`);
  });
}

async function ended(
  client: FedgateClient,
  id: string,
  signal: AbortSignal,
  late: AbortSignal | undefined,
): Promise<StoredRequest> {
  try {
    return await client.stored.wait(id, { signal });
  } catch (error) {
    if (late?.aborted) throw new FedgateError('DEADLINE_EXCEEDED', 'there is no answer yet; it is still waited for');
    throw error;
  }
}
