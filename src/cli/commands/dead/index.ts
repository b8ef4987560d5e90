import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerDrop } from './drop.js';
import { registerList } from './list.js';
import { registerRedrive } from './redrive.js';
import { registerShow } from './show.js';

/** `fedgate dead …`: records that were given up, here and elsewhere. */
export function registerDead(program: Command, env: CliEnv): void {
  const dead = program.command('dead').description('dead letters: see them, try them again, forget them');
  registerList(dead, env);
  registerShow(dead, env);
  registerRedrive(dead, env);
  registerDrop(dead, env);
}
