import { type Command, Option } from 'commander';
import { startRegistry } from '../../../registry/server/server.js';
import { createLog } from '../../../telemetry/log.js';
import type { CliEnv } from '../../env.js';
import { examples } from '../../help.js';
import { DIR_OPTION } from './options.js';

interface ServeFlags {
  readonly dir: string;
  readonly listen?: string;
  readonly adminListen?: string;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly logFormat: 'auto' | 'json' | 'pretty';
}

export function registerServe(registry: Command, env: CliEnv): void {
  registry
    .command('serve')
    .description('run the registry until it is told to stop (SIGTERM or Ctrl-C)')
    .option(...DIR_OPTION)
    .option('--listen <host:port>', 'in place of what registry.yaml says')
    .option('--admin-listen <host:port>', 'in place of what registry.yaml says')
    .addOption(
      new Option('--log-level <level>', 'how much to log')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .addOption(new Option('--log-format <format>', 'how to log').choices(['auto', 'json', 'pretty']).default('auto'))
    .addHelpText(
      'after',
      examples('fedgate registry serve --dir registry', 'fedgate registry serve --dir registry --listen 127.0.0.1:0'),
    )
    .action((flags: ServeFlags) => serve(env, flags));
}

async function serve(env: CliEnv, { dir, listen, adminListen, logLevel, logFormat }: ServeFlags): Promise<void> {
  const log = createLog({ level: logLevel, format: logFormat });
  const registry = await startRegistry({
    folder: dir,
    log,
    ...(listen === undefined ? {} : { listen }),
    ...(adminListen === undefined ? {} : { adminListen }),
  });
  await aborted(env.signal);
  log.info({}, 'registry stopping');
  await registry.stop();
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
}
