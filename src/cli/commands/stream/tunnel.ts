import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Command } from 'commander';
import type { FedgateClient, OpenStreamOptions } from '../../../client/index.js';
import { FedgateError, fieldError, quoted } from '../../../errors.js';
import type { OrgName } from '../../../identity/names.js';
import { parseAddress } from '../../../messaging/address.js';
import { parseDuration } from '../../duration.js';
import type { CliEnv } from '../../env.js';
import { EXIT } from '../../exit-codes.js';
import { examples } from '../../help.js';
import { type GatewayOptions, withClient, withGatewayOptions } from '../../options.js';
import { type EventFlags, Events, interrupted } from './events.js';
import { join } from './join.js';

interface TunnelFlags extends GatewayOptions, EventFlags {
  readonly resume: string;
  readonly timeout: string;
}

export function registerTunnel(program: Command, env: CliEnv): void {
  const command = program
    .command('tunnel')
    .argument('<port>', 'where to listen on 127.0.0.1; 0 takes any free port')
    .argument('<address>', '`channel`, or `pubsub://ORG/channel` in another organisation')
    .description('carry TCP connections to where somebody runs `fedgate expose`')
    .option('--resume <duration>', 'how long a connection outlives a break on the way', '30s')
    .option('--timeout <duration>', 'how long the other end may take to accept', '15s')
    .option('--json', 'print what happens as JSON, one object per line');
  withGatewayOptions(command)
    .addHelpText(
      'after',
      `${examples(
        'fedgate tunnel 5432 pubsub://GLOBEX/db/orders',
        'psql -h 127.0.0.1 -p 5432 orders',
        'fedgate tunnel 0 pubsub://GLOBEX/web --json',
      )}\n\n${TUNNEL_HELP}`,
    )
    .action((port: string, address: string, flags: TunnelFlags) => tunnel(env, port, address, flags));
}

const TUNNEL_HELP = `Each TCP connection is a byte stream of its own, which access.nodes[].openStreams here and access.peers[].streams there must
grant. The end of either direction and resets are carried too. A connection that is refused is reset, with the reason on standard error.
Whoever can connect to the port on this machine uses the grant of this node.`;

/** What is no address should be told before anybody connects. Throws FIELD_INVALID, CHANNEL_RESERVED, FEATURE_UNSUPPORTED. */
function checkAddress(text: string): void {
  // Which organisation is the own one is of no importance for how an address is written.
  parseAddress(text, 'OWN' as OrgName);
}

async function tunnel(env: CliEnv, portText: string, address: string, flags: TunnelFlags): Promise<void> {
  const port = Number(portText);
  if (!/^\d{1,5}$/.test(portText) || port > 65_535) throw fieldError('port', `${quoted(portText)} is not a port`);
  checkAddress(address);
  const options = {
    resumeMs: parseDuration(flags.resume, '--resume'),
    timeoutMs: parseDuration(flags.timeout, '--timeout'),
  };
  const events = new Events(env, flags);
  await withClient(env, flags, async client => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, socket => {
      void carry(client, socket, address, options, events);
    });
    const listening = await listen(server, port);
    events.tell('listening', { port: listening, address }, `127.0.0.1:${listening} leads to ${address}`);
    await interrupted(env);
    server.close();
  });
  env.exitCode = EXIT.interrupted;
}

const UNUSABLE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program; choose another port, or 0 for any that is free',
  EACCES:
    'may not be used by this user, as ports below 1024 often may not; choose a higher one, or 0 for any that is free',
};

async function listen(server: Server, port: number): Promise<number> {
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new FedgateError(
      'ADDRESS_UNUSABLE',
      `127.0.0.1:${port} ${UNUSABLE[code ?? ''] ?? `cannot be used: ${message}`}`,
      {
        cause,
      },
    );
  }
}

async function carry(
  client: FedgateClient,
  socket: Socket,
  address: string,
  options: OpenStreamOptions,
  events: Events,
): Promise<void> {
  const gone = new AbortController();
  const giveUp = (): void => gone.abort();
  socket.on('error', giveUp).on('close', giveUp);
  try {
    const stream = await client.openStream(address, options);
    if (gone.signal.aborted) return void stream.destroy(new FedgateError('STREAM_RESET', 'the TCP connection is gone'));
    socket.off('error', giveUp).off('close', giveUp);
    const { org, node } = stream;
    const closed = events.opened({ org, node }, `a connection to ${node} of ${org}`);
    closed(await join(socket, stream));
  } catch (error) {
    events.refused(error as FedgateError, 'a connection was refused');
    socket.resetAndDestroy();
  }
}
