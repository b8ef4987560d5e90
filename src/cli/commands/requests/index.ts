import type { Command } from 'commander';
import type { CliEnv } from '../../env.js';
import { registerRequestsAnswer } from './answer.js';
import { registerRequestsCancel } from './cancel.js';
import { registerRequestsList } from './list.js';
import { registerRequestsShow } from './show.js';

export function registerRequests(program: Command, env: CliEnv): void {
  const requests = program
    .command('requests')
    .description('requests that are stored: how they stand, and their answers');
  registerRequestsList(requests, env);
  registerRequestsShow(requests, env);
  registerRequestsAnswer(requests, env);
  registerRequestsCancel(requests, env);
}
