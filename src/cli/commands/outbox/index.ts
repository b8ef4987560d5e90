import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerList } from './list.js';
import { registerPausing } from './pausing.js';
import { registerPurge } from './purge.js';
import { registerShow } from './show.js';

/** `fedgate outbox …`: what waits for other organisations. */
export function registerOutbox(program: Command, env: CliEnv): void {
  const outbox = program.command('outbox').description('see, stop and drop what waits for other organisations');
  registerList(outbox, env);
  registerShow(outbox, env);
  registerPausing(outbox, env);
  registerPurge(outbox, env);
}
