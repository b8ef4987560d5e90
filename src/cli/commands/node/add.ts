import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { contextsFile, readContexts, writeContexts } from '../../../client/context.js';
import { FedgateError } from '../../../errors.js';
import { addNode } from '../../../gateway/add-node.js';
import { readConfig } from '../../../gateway/config.js';
import { formatHostPort } from '../../../identity/names.js';
import { orgFolder, readMembership } from '../../../identity/org-folder.js';
import { gatewayDnsName } from '../../../identity/subject.js';
import { type CliEnv, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { parseCount } from '../../options.js';

interface AddOptions {
  readonly dir: string;
  readonly gateway: string;
  readonly address?: string;
  readonly contextName?: string;
  readonly days: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerAdd(node: Command, env: CliEnv): void {
  node
    .command('add')
    .argument('<name>', 'the name of the node: a-z 0-9 -')
    .description('issue a certificate for a program and make it a ready-to-use context, which becomes the current one')
    .option('--dir <folder>', "the organisation's folder, made by `fedgate org join`", '.')
    .option('--gateway <name>', 'the gateway it is to use', 'gw1')
    .option('--address <host:port>', "the gateway's node listener; otherwise as in gateway.yaml")
    .option('--context-name <name>', 'otherwise ORG-NODE in lower case')
    .option('--days <n>', 'how long the certificate is good', '365')
    .option('--force', 'replace the certificate and key that are there')
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples(
        'fedgate node add billing --dir acme',
        'fedgate node add erp --dir globex --address gw1.globex.internal:7410',
      ),
    )
    .action((name: string, options: AddOptions) => add(env, name, options));
}

async function add(env: CliEnv, name: string, options: AddOptions): Promise<void> {
  const folder = resolve(options.dir);
  const { org, federation } = await readMembership(folder);
  const address = options.address ?? (await addressFromConfig(folder, env));
  const target = orgFolder(folder).node(name);
  if (existsSync(join(target, 'tls.key')) && !options.force) {
    throw new FedgateError('FILE_UNUSABLE', `${target} already holds a key; --force replaces it`);
  }
  const contextFile = await addNode({
    folder,
    name,
    gateway: options.gateway,
    address,
    days: parseCount(options.days, '--days', 1),
  });
  const contextName = options.contextName ?? `${org.toLowerCase()}-${name}`;
  const path = contextsFile(env.variables);
  const contexts = await readContexts(path);
  const at = dirname(contextFile);
  contexts.contexts[contextName] = {
    gateway: address,
    serverName: gatewayDnsName(federation, org, options.gateway),
    certificate: join(at, 'tls.crt'),
    key: join(at, 'tls.key'),
    ca: join(at, 'ca.crt'),
  };
  contexts.current = contextName;
  await writeContexts(path, contexts);
  if (options.json) return printJson(env, { org, node: name, context: contextName, contextFile, gateway: address });
  say(env, `node ${name} of ${org}: certificate and key in ${at}`);
  say(env, `context ${contextName} is now the current one (${path})`);
}

async function addressFromConfig(folder: string, env: CliEnv): Promise<string> {
  const { listen } = await readConfig(orgFolder(folder).gatewayConfig, env.variables);
  const { host, port } = listen.nodes;
  // What listens everywhere is reached on this machine.
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return formatHostPort({ host: reachable, port });
}
