import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerStats } from './stats.js';

/** `fedgate store …`: the folder in which a gateway keeps what is stored. */
export function registerStore(program: Command, env: CliEnv): void {
  const store = program.command('store').description('look after the store of a gateway: size, checks, backups');
  registerStats(store, env);
}
