import { resolve } from 'node:path';
import type { Command } from 'commander';
import { contextsFile, readContexts, writeContexts } from '../../../client/context.js';
import { FedgateError, fieldError, quoted } from '../../../errors.js';
import { readCertificate } from '../../../identity/files.js';
import { parseHostPort, parseNodeName } from '../../../identity/names.js';
import { type CliEnv, print, printJson, say, table } from '../../env.js';
import { examples } from '../../help.js';

export function registerContext(program: Command, env: CliEnv): void {
  const context = program.command('context').description('choose which gateway to use, and as whom');
  context
    .command('list')
    .description('list the contexts; * marks the current one')
    .option('--json', 'list as JSON')
    .addHelpText('after', examples('fedgate context list'))
    .action(({ json }: { json?: boolean }) => list(env, json === true));
  context
    .command('add')
    .argument('<name>', 'what it is to be called')
    .description('make a context for a program that shows a bearer token instead of a certificate')
    .requiredOption('--gateway <host:port>', "the gateway's node listener")
    .requiredOption('--server-name <name>', "the DNS name in the gateway's certificate")
    .requiredOption('--ca <file>', "the organisation's CA certificate, PEM")
    .requiredOption('--token-file <file>', 'the file with the token; read anew whenever one is needed')
    .option('--node <name>', 'the node that the token makes of the program; needed for its inbox')
    .addHelpText(
      'after',
      examples(
        'fedgate context add ci --gateway gw1.acme.internal:7410 --server-name gw1.acme.fed.example --ca ca.crt --token-file /run/secrets/token',
      ),
    )
    .action((name: string, options: AddOptions) => add(env, name, options));
  context
    .command('use')
    .argument('<name>', 'one that `fedgate context list` shows')
    .description('make a context the current one')
    .addHelpText(
      'after',
      examples(
        'fedgate context use acme-billing',
        'FEDGATE_CONTEXT=globex-erp fedgate sub "orders/*"   # for one command',
      ),
    )
    .action((name: string) => use(env, name));
}

interface AddOptions {
  readonly gateway: string;
  readonly serverName: string;
  readonly ca: string;
  readonly tokenFile: string;
  readonly node?: string;
}

async function add(env: CliEnv, name: string, options: AddOptions): Promise<void> {
  const { gateway, serverName, ca, tokenFile, node } = options;
  parseHostPort(gateway, '--gateway');
  if (node !== undefined) parseNodeName(node, '--node');
  if (name === '' || name.includes('/')) throw fieldError('name', `${quoted(name)} must not be empty nor have a \`/\``);
  await readCertificate(ca);
  const path = contextsFile(env.variables);
  const contexts = await readContexts(path);
  contexts.contexts[name] = {
    ...{ gateway, serverName, ca: resolve(ca), tokenFile: resolve(tokenFile) },
    ...(node === undefined ? {} : { node }),
  };
  contexts.current = name;
  await writeContexts(path, contexts);
  say(env, `context ${name} is now the current one (${path})`);
}

async function list(env: CliEnv, json: boolean): Promise<void> {
  const { current, contexts } = await readContexts(contextsFile(env.variables));
  if (json)
    return printJson(
      env,
      Object.entries(contexts).map(([name, context]) => ({ name, current: name === current, ...context })),
    );
  const rows = Object.entries(contexts).map(([name, context]) => [
    name === current ? '*' : '',
    name,
    context.gateway,
    context.serverName,
  ]);
  if (rows.length === 0) return say(env, 'there are no contexts; `fedgate node add NAME` makes one');
  await print(env, table([['', 'NAME', 'GATEWAY', 'SERVER NAME'], ...rows]));
}

async function use(env: CliEnv, name: string): Promise<void> {
  const path = contextsFile(env.variables);
  const contexts = await readContexts(path);
  if (!Object.hasOwn(contexts.contexts, name))
    throw new FedgateError('CONTEXT_UNKNOWN', `${path} has no context ${quoted(name)}`);
  await writeContexts(path, { ...contexts, current: name });
  say(env, `context ${name} is now the current one`);
}
