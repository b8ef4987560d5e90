import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerList } from './list.js';
import { registerRevoke } from './revoke.js';

/** `fedgate keys …`: the approval keys that the registry knows. */
export function registerKeys(program: Command, env: CliEnv): void {
  const keys = program.command('keys').description('approval keys: see those that are registered, revoke your own');
  registerList(keys, env);
  registerRevoke(keys, env);
}
