import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerList } from './list.js';
import { registerRemove } from './remove.js';
import { registerShow } from './show.js';
import { registerUpdate } from './update.js';

/** `fedgate shares …`: what was shared. */
export function registerShares(program: Command, env: CliEnv): void {
  const shares = program.command('shares').description('see, change and end shares');
  registerList(shares, env);
  registerShow(shares, env);
  registerUpdate(shares, env);
  registerRemove(shares, env);
}
