import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerBackup } from './backup.js';
import { registerRestore } from './restore.js';
import { registerStats } from './stats.js';
import { registerVerify } from './verify.js';

/** `fedgate store …`: the folder in which a gateway keeps what is stored. */
export function registerStore(program: Command, env: CliEnv): void {
  const store = program.command('store').description('look after the store of a gateway: size, checks, backups');
  registerStats(store, env);
  registerVerify(store, env);
  registerBackup(store, env);
  registerRestore(store, env);
}
