import type { Command } from 'commander';
import type { FedgateClient, RequestHandler } from '../../../client/index.js';
import { describe, fieldError } from '../../../errors.js';
import { type CliEnv, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { runForRequest } from './exec.js';

interface RespondFlags extends GatewayOptions {
  readonly exec?: string;
  readonly echo?: boolean;
  readonly capacity: string;
  readonly count?: string;
}

export function registerRespond(program: Command, env: CliEnv): void {
  const command = program
    .command('respond')
    .argument('<pattern>', 'a channel of your own organisation; `*` is one segment, a last `**` any number')
    .description('answer requests with a command')
    .option('--exec <command>', 'run by the shell for each request')
    .option('--echo', 'answer with what was asked, for trying')
    .option('--capacity <n>', 'how many may run at once', '16')
    .option('--count <n>', 'end after this many requests');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate respond "quotes/*" --exec ./quote.sh --capacity 4',
        `fedgate respond upper --exec 'tr a-z A-Z'`,
        'fedgate respond "**" --echo',
      )}\n\n${COMMAND_HELP}`,
    )
    .action((pattern: string, flags: RespondFlags) => respond(env, pattern, flags));
}

const COMMAND_HELP = `The command gets the payload on standard input; what it writes to standard output is the reply. When it ends with
another code than 0 whoever asked gets the application error EXIT_n with the end of its standard error. FEDGATE_CHANNEL,
FEDGATE_SENDER_ORG, FEDGATE_SENDER_NODE, FEDGATE_TIMEOUT_MS, FEDGATE_ATTEMPT and FEDGATE_HEADERS (JSON) are in its environment.
It is killed when nobody waits for the answer any more.`;

async function respond(env: CliEnv, pattern: string, flags: RespondFlags): Promise<void> {
  const { exec, echo = false } = flags;
  if ((exec === undefined) !== echo) throw fieldError('--exec', 'give one of: --exec, --echo');
  const capacity = parseCount(flags.capacity, '--capacity', 1);
  const count = flags.count === undefined ? Number.POSITIVE_INFINITY : parseCount(flags.count, '--count', 1);
  const handler: RequestHandler =
    exec === undefined
      ? ({ payload, contentType }) => ({ payload, contentType })
      : request => runForRequest(exec, request, env.variables);
  await withClient(env, flags, client => answer(env, client, pattern, counted(handler, count), capacity));
}

interface Counted {
  readonly handler: RequestHandler;
  /** Resolves once so many were answered. */
  readonly enough: Promise<void>;
}

function counted(handler: RequestHandler, count: number): Counted {
  let answered = 0;
  let done: () => void = () => undefined;
  const enough = new Promise<void>(resolve => {
    done = resolve;
  });
  return {
    enough,
    handler: async request => {
      try {
        return await handler(request);
      } finally {
        if (++answered >= count) setImmediate(done);
      }
    },
  };
}

/** Answers until enough were, the user has enough, or the gateway refuses. */
async function answer(
  env: CliEnv,
  client: FedgateClient,
  pattern: string,
  { handler, enough }: Counted,
  capacity: number,
): Promise<void> {
  const responding = client.respond(pattern, handler, {
    capacity,
    onError: (error, { channel }) => say(env, `fedgate: a request on ${channel} failed: ${describe(error)}`),
  });
  responding.opened.then(
    () => say(env, `fedgate: answering on ${pattern}`),
    () => undefined,
  );
  const interrupted = new Promise<void>(resolve => {
    if (env.signal.aborted) resolve();
    else env.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const refusal = await Promise.race([responding.closed, enough, interrupted]);
  if (refusal) throw refusal;
  // What runs is killed when the user has enough, and answered when it was the last.
  if (env.signal.aborted) {
    env.exitCode = EXIT.interrupted;
    responding.close();
  } else await responding.drain();
}
