import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerRenew } from './renew.js';
import { registerRun } from './run.js';

/** `fedgate gateway …`: for whoever runs an organisation. */
export function registerGateway(program: Command, env: CliEnv): void {
  const gateway = program.command('gateway').description('run the gateway of your organisation; renew its certificate');
  registerRun(gateway, env);
  registerRenew(gateway, env);
}
