import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerAdd } from './add.js';
import { registerRevoke } from './revoke.js';

/** `fedgate node …`: for whoever has the CA of an organisation. */
export function registerNode(program: Command, env: CliEnv): void {
  const node = program.command('node').description('certificates for the programs of your organisation');
  registerAdd(node, env);
  registerRevoke(node, env);
}
