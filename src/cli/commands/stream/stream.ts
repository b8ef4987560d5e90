import { once } from 'node:events';
import type { Command } from 'commander';
import type { ByteStream } from '../../../client/index.js';
import { FedgateError } from '../../../errors.js';
import { parseDuration } from '../../duration.js';
import { type CliEnv, say, write } from '../../env.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { interrupted } from './events.js';

interface StreamFlags extends GatewayOptions {
  readonly accept?: boolean;
  readonly resume: string;
  readonly timeout: string;
}

export function registerStream(program: Command, env: CliEnv): void {
  const command = program
    .command('stream')
    .argument('<address>', '`channel`, or `pubsub://ORG/channel` in another organisation')
    .description('join standard input and output to a byte stream')
    .option('--accept', 'wait for somebody who opens a stream to this channel, or pattern, of your own organisation')
    .option('--resume <duration>', 'how long the stream outlives a break on the way', '30s')
    .option('--timeout <duration>', 'how long the other end may take to accept', '15s');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      examples(
        'fedgate stream --accept inbox/backups > backup.tar',
        'tar c /srv | fedgate stream pubsub://GLOBEX/inbox/backups',
      ),
    )
    .action((address: string, flags: StreamFlags) => stream(env, address, flags));
}

async function stream(env: CliEnv, address: string, flags: StreamFlags): Promise<void> {
  const options = {
    resumeMs: parseDuration(flags.resume, '--resume'),
    timeoutMs: parseDuration(flags.timeout, '--timeout'),
    signal: env.signal,
  };
  await withClient(env, flags, async client => {
    if (!flags.accept) return joinStandard(env, await client.openStream(address, options));
    let accept: (stream: ByteStream) => void = () => undefined;
    const accepted = new Promise<ByteStream>(resolve => {
      accept = resolve;
    });
    const accepting = client.acceptStreams(address, taken => accept(taken), { capacity: 1 });
    accepting.opened.then(
      () => say(env, `fedgate: accepting on ${address}`),
      () => undefined,
    );
    const first = await Promise.race([accepted, accepting.closed, interrupted(env)]);
    if (!first || first instanceof FedgateError) throw first ?? new FedgateError('CANCELLED', 'interrupted');
    accepting.close();
    await joinStandard(env, first);
  });
}

/** Resolves when both directions have ended; rejects with what broke the stream. */
async function joinStandard(env: CliEnv, opened: ByteStream): Promise<void> {
  say(env, `fedgate: joined to ${opened.node} of ${opened.org}`);
  const { stdin, signal } = env;
  const abort = (): void => void opened.destroy(new FedgateError('CANCELLED', 'interrupted'));
  signal.addEventListener('abort', abort, { once: true });
  try {
    const closed = opened.destroyed ? undefined : once(opened, 'close');
    stdin.pipe(opened);
    for await (const chunk of opened.iterator({ destroyOnReturn: false })) await write(env.stdout, chunk as Buffer);
    await closed;
  } finally {
    signal.removeEventListener('abort', abort);
    stdin.unpipe(opened);
    opened.destroy();
  }
}
