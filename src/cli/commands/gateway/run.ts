import type { Command } from 'commander';
import { readConfig } from '../../../gateway/config.js';
import { startGateway } from '../../../gateway/gateway.js';
import { createLog } from '../../../telemetry/log.js';
import type { CliEnv } from '../../env.js';
import { examples } from '../../help.js';

export function registerRun(gateway: Command, env: CliEnv): void {
  gateway
    .command('run')
    .description(
      'run a gateway until SIGTERM or Ctrl-C; then finish what is under way and exit 0. SIGHUP has it read `access` again',
    )
    .option('--config <file>', 'its configuration', 'gateway.yaml')
    .addHelpText(
      'after',
      examples(
        'fedgate gateway run --config acme/gateway.yaml',
        'FEDGATE_LOG_LEVEL=debug fedgate gateway run --config acme/gateway.yaml',
      ),
    )
    .action(async ({ config: path }: { config: string }) => {
      const config = await readConfig(path, env.variables);
      const log = createLog(config.log);
      const running = await startGateway(config, log);
      const reload = (): void => {
        readConfig(path, env.variables).then(
          ({ access }) => running.replaceAccess(access),
          error => log.error({ err: error }, 'the configuration is not read again; the grants stay as they are'),
        );
      };
      process.on('SIGHUP', reload);
      if (!env.signal.aborted)
        await new Promise(resolve => env.signal.addEventListener('abort', resolve, { once: true }));
      process.off('SIGHUP', reload);
      await running.stop();
    });
}
