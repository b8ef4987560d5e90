import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerDelete } from './delete.js';
import { registerList } from './list.js';
import { registerSeek } from './seek.js';
import { registerShow } from './show.js';

/** `fedgate subs …`: durable subscriptions of the own organisation. */
export function registerSubs(program: Command, env: CliEnv): void {
  const subs = program.command('subs').description('see, move and delete durable subscriptions');
  registerList(subs, env);
  registerShow(subs, env);
  registerSeek(subs, env);
  registerDelete(subs, env);
}
