import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerNodesFind } from './find.js';
import { registerNodesList } from './list.js';
import { registerNodesWatch } from './watch.js';

export function registerNodes(program: Command, env: CliEnv): void {
  const nodes = program.command('nodes').description('which nodes are there, here and in other organisations');
  registerNodesList(nodes, env);
  registerNodesFind(nodes, env);
  registerNodesWatch(nodes, env);
}
