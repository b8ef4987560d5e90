import { connect } from 'node:net';
import type { Command } from 'commander';
import type { ByteStream } from '../../../client/index.js';
import { describe, fieldError } from '../../../errors.js';
import { parseHostPort } from '../../../identity/names.js';
import { type CliEnv, say } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, parseCount, withClient, withGatewayOptions } from '../../options.js';
import { type EventFlags, Events, interrupted } from './events.js';
import { join } from './join.js';

const MAX_CAPACITY = 1_000;

interface ExposeFlags extends GatewayOptions, EventFlags {
  readonly capacity: string;
}

export function registerExpose(program: Command, env: CliEnv): void {
  const command = program
    .command('expose')
    .argument('<host:port>', 'where each connection leads')
    .argument('<pattern>', 'a channel of your own organisation; `*` is one segment, a last `**` any number')
    .description('accept byte streams and connect each to a TCP server: the other end of `fedgate tunnel`')
    .option('--capacity <n>', 'how many may be open at once, at most 1000', '100')
    .option('--json', 'print what happens as JSON, one object per line');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate expose 127.0.0.1:5432 db/orders',
        'fedgate expose "[::1]:8080" web --capacity 20 --json',
      )}\n\nStreams are accepted that access.peers[].streams and access.nodes[].acceptStreams of the gateway grant.`,
    )
    .action((target: string, pattern: string, flags: ExposeFlags) => expose(env, target, pattern, flags));
}

async function expose(env: CliEnv, target: string, pattern: string, flags: ExposeFlags): Promise<void> {
  const { host, port } = parseHostPort(target, 'host:port');
  const capacity = parseCount(flags.capacity, '--capacity', 1);
  if (capacity > MAX_CAPACITY) throw fieldError('--capacity', `is at most ${MAX_CAPACITY}`);
  const events = new Events(env, flags);
  const carry = async (stream: ByteStream): Promise<void> => {
    const { org, node, channel } = stream;
    const closed = events.opened({ org, node, channel }, `a connection from ${node} of ${org} on ${channel}`);
    closed(await join(connect({ host, port, allowHalfOpen: true }), stream));
  };
  await withClient(env, flags, async client => {
    const accepting = client.acceptStreams(pattern, carry, {
      capacity,
      onError: error => say(env, `fedgate: a stream could not be accepted: ${describe(error)}`),
    });
    accepting.opened.then(
      () => events.tell('accepting', { pattern, target }, `streams on ${pattern} lead to ${target}`),
      () => undefined,
    );
    const refusal = await Promise.race([accepting.closed, interrupted(env)]);
    if (refusal) throw refusal;
    accepting.close();
  });
  env.exitCode = EXIT.interrupted;
}
