import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerInit } from './init.js';
import { registerInvite } from './invite.js';
import { registerList } from './list.js';
import { registerServe } from './serve.js';
import { registerStates } from './states.js';

/** `fedgate registry …`: for whoever runs a federation. */
export function registerRegistry(program: Command, env: CliEnv): void {
  const registry = program
    .command('registry')
    .description('run the registry of a federation: who is a member, and who is invited');
  registerInit(registry, env);
  registerServe(registry, env);
  registerInvite(registry, env);
  registerList(registry, env);
  registerStates(registry, env);
}
