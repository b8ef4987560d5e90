import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerInit } from './init.js';

/** `fedgate policy …`: whose approvals a consumer trusts. */
export function registerPolicy(program: Command, env: CliEnv): void {
  const policy = program.command('policy').description('say whose approvals you trust, for `fedgate verify`');
  registerInit(policy, env);
}
