import type { Command } from 'commander';
import { connect, type FedgateClient, tokenFile } from '../client/index.js';
import { fieldError, quoted } from '../errors.js';
import { parseDuration } from './duration.js';
import { type CliEnv, say } from './env.js';

/** Options of every command that talks to the own gateway. */
export interface GatewayOptions {
  readonly context?: string;
  readonly tokenFile?: string;
  readonly connectTimeout: string;
}

export const withGatewayOptions = (command: Command): Command =>
  command
    .option(
      '--context <name>',
      'a context, or the path of a context file; FEDGATE_CONTEXT otherwise, then the current one',
    )
    .option(
      '--token-file <file>',
      'a file with a bearer token, in the place of the certificate of the context; FEDGATE_TOKEN_FILE otherwise',
    )
    .option('--connect-timeout <duration>', 'how long to try to reach the gateway', '5s');

/** Connects as the chosen context says; tells on standard error when the connection breaks and when it is back. */
export async function connectTo(env: CliEnv, options: GatewayOptions): Promise<FedgateClient> {
  const connectTimeoutMs = parseDuration(options.connectTimeout, '--connect-timeout');
  const path = tokenFileOf(env, options);
  const client = await connect({
    context: options.context ?? env.variables.FEDGATE_CONTEXT,
    token: path === undefined ? undefined : tokenFile(path),
    connectTimeoutMs,
    signal: env.signal,
  });
  client.on('disconnected', error => say(env, `fedgate: the gateway is gone (${error.message}); trying again`));
  client.on('connected', () => say(env, 'fedgate: the gateway is back'));
  return client;
}

/** The file with the token that is to be used; undefined: what the context says. An empty variable is none. */
export const tokenFileOf = ({ variables }: CliEnv, options: GatewayOptions): string | undefined =>
  options.tokenFile ?? (variables.FEDGATE_TOKEN_FILE || undefined);

/** Runs with a client of the chosen context, and closes it. */
export async function withClient<T>(
  env: CliEnv,
  options: GatewayOptions,
  use: (client: FedgateClient) => Promise<T>,
): Promise<T> {
  const client = await connectTo(env, options);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Parses a whole number. Throws FIELD_INVALID naming the option. */
export function parseCount(text: string, option: string, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  const count = Number(text);
  if (!/^\d{1,15}$/.test(text) || count < least || count > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
    throw fieldError(option, `${quoted(text)} is not a whole number ${range}`);
  }
  return count;
}

/** For options that may be given several times. */
export const collect = (value: string, earlier: readonly string[] = []): string[] => [...earlier, value];

/** Parses `name=value` pairs. */
export function parsePairs(pairs: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=');
      if (at < 1) throw fieldError(option, `${quoted(pair)} is not name=value`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
