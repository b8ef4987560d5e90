import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerAdd } from './add.js';
import { registerKey } from './key.js';
import { registerRequire } from './require.js';

/** `fedgate approver …`: who approves code for the own organisation. */
export function registerApprover(program: Command, env: CliEnv): void {
  const approver = program
    .command('approver')
    .description('who approves code for your organisation: make and register keys');
  registerKey(approver, env);
  registerAdd(approver, env);
  registerRequire(approver, env);
}
