import type { Command } from 'commander';
import { DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, initRegistry, registryFolder } from '../../../registry/server/folder.js';
import { type CliEnv, print, printJson, say } from '../../env.js';
import { examples } from '../../help.js';
import { collect } from '../../options.js';
import { DIR_OPTION } from './options.js';

interface InitFlags {
  readonly dir: string;
  readonly domain: string;
  readonly listen: string;
  readonly adminListen: string;
  readonly advertise: readonly string[];
  readonly json?: boolean;
}

export function registerInit(registry: Command, env: CliEnv): void {
  registry
    .command('init')
    .description('make the keys and the configuration of a new federation')
    .option(...DIR_OPTION)
    .requiredOption(
      '--domain <domain>',
      "the federation's domain; it is part of every certificate and cannot be changed",
    )
    .option('--listen <host:port>', 'where members reach the registry', DEFAULT_LISTEN)
    .option('--admin-listen <host:port>', 'where its operator does', DEFAULT_ADMIN_LISTEN)
    .option('--advertise <host:port>', 'an address that invitations carry; may be given several times', collect, [])
    .option('--json', 'report as JSON')
    .addHelpText(
      'after',
      examples(
        'fedgate registry init --dir registry --domain fed.example --advertise registry.fed.example:7400',
        'fedgate registry serve --dir registry',
      ),
    )
    .action((flags: InitFlags) => init(env, flags));
}

async function init(env: CliEnv, { dir, domain, listen, adminListen, advertise, json }: InitFlags): Promise<void> {
  await initRegistry({ folder: dir, federation: domain, listen, adminListen, advertise });
  const { config } = registryFolder(dir);
  if (json) return printJson(env, { federation: domain, folder: dir, config });
  await print(env, `registry of ${domain} made in ${dir}`);
  say(env, `its configuration is ${config}; start it with: fedgate registry serve --dir ${dir}`);
}
